// SPDX-License-Identifier: Apache-2.0
// GGUF q4_0: 32 values in 18 bytes. 0 d f16, 2 nibbles (element j low, j + 16 high);
// x = (q - 8) * d.
#include "kernels/layouts/block.h"

namespace bitlathe {

namespace {

void decode(const std::uint8_t* b, std::int64_t n_blocks, float* out) {
  for (std::int64_t i = 0; i < n_blocks; ++i, b += 18, out += 32) {
    const float d = block_half(b);
    for (int j = 0; j < 16; ++j) {
      out[j] = float((b[2 + j] & 15) - 8) * d;
      out[j + 16] = float((b[2 + j] >> 4) - 8) * d;
    }
  }
}

} // namespace

extern const Layout layout_q4_0;
const Layout layout_q4_0 = block_layout<32, 18, decode, &cpu::Kernels::q4_0>("q4_0");

} // namespace bitlathe
