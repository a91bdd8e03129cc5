// SPDX-License-Identifier: Apache-2.0
// GGUF mxfp4: 32 values in 17 bytes. 0 exponent e, 1 nibbles as in q4_0; x = 2^(e - 128) * twice
// the E2M1 value.
#include "kernels/layouts/block.h"
#include "kernels/layouts/value_tables.h"

namespace bitlathe {

namespace {

void decode(const std::uint8_t* b, std::int64_t n_blocks, float* out) {
  for (std::int64_t i = 0; i < n_blocks; ++i, b += 17, out += 32) {
    // 2^(e - 128), which is subnormal for e = 0 and 1.
    const std::uint32_t bits = b[0] < 2 ? 0x200000u << b[0] : std::uint32_t(b[0] - 1) << 23;
    const float d = std::bit_cast<float>(bits);
    for (int j = 0; j < 16; ++j) {
      out[j] = float(e2m1_doubled[b[1 + j] & 15]) * d;
      out[j + 16] = float(e2m1_doubled[b[1 + j] >> 4]) * d;
    }
  }
}

} // namespace

extern const Layout layout_mxfp4;
const Layout layout_mxfp4 = block_layout<32, 17, decode, &cpu::Kernels::mxfp4>("mxfp4");

} // namespace bitlathe
