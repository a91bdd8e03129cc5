// SPDX-License-Identifier: Apache-2.0
// GGUF q4_1: 32 values in 20 bytes. 0 d f16, 2 m f16, 4 nibbles as in q4_0; x = q * d + m.
#include "kernels/layouts/block.h"

namespace bitlathe {

namespace {

void decode(const std::uint8_t* b, std::int64_t n_blocks, float* out) {
  for (std::int64_t i = 0; i < n_blocks; ++i, b += 20, out += 32) {
    const float d = block_half(b), m = block_half(b + 2);
    for (int j = 0; j < 16; ++j) {
      out[j] = float(b[4 + j] & 15) * d + m;
      out[j + 16] = float(b[4 + j] >> 4) * d + m;
    }
  }
}

} // namespace

extern const Layout layout_q4_1;
const Layout layout_q4_1 = block_layout<32, 20, decode, &cpu::Kernels::q4_1>("q4_1");

} // namespace bitlathe
