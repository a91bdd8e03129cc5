// SPDX-License-Identifier: Apache-2.0
// GGUF q5_1: 32 values in 24 bytes. 0 d f16, 2 m f16, 4 fifth bits (u32, bit j of element j), 8
// nibbles as in q4_0; x = q * d + m.
#include "kernels/layouts/block.h"

namespace bitlathe {

namespace {

void decode(const std::uint8_t* b, std::int64_t n_blocks, float* out) {
  for (std::int64_t i = 0; i < n_blocks; ++i, b += 24, out += 32) {
    const float d = block_half(b), m = block_half(b + 2);
    const auto high = [b](int j) { return (b[4 + j / 8] >> (j % 8) & 1) << 4; };
    for (int j = 0; j < 16; ++j) {
      out[j] = float((b[8 + j] & 15) | high(j)) * d + m;
      out[j + 16] = float(b[8 + j] >> 4 | high(j + 16)) * d + m;
    }
  }
}

} // namespace

extern const Layout layout_q5_1;
const Layout layout_q5_1 = block_layout<32, 24, decode, &cpu::Kernels::q5_1>("q5_1");

} // namespace bitlathe
