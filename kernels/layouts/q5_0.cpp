// SPDX-License-Identifier: Apache-2.0
// GGUF q5_0: 32 values in 22 bytes. 0 d f16, 2 fifth bits (u32, bit j of element j), 6 nibbles as
// in q4_0; x = (q - 16) * d.
#include "kernels/layouts/block.h"

namespace bitlathe {

namespace {

void decode(const std::uint8_t* b, std::int64_t n_blocks, float* out) {
  for (std::int64_t i = 0; i < n_blocks; ++i, b += 22, out += 32) {
    const float d = block_half(b);
    const auto high = [b](int j) { return (b[2 + j / 8] >> (j % 8) & 1) << 4; };
    for (int j = 0; j < 16; ++j) {
      out[j] = float(((b[6 + j] & 15) | high(j)) - 16) * d;
      out[j + 16] = float((b[6 + j] >> 4 | high(j + 16)) - 16) * d;
    }
  }
}

} // namespace

extern const Layout layout_q5_0;
const Layout layout_q5_0 = block_layout<32, 22, decode, &cpu::Kernels::q5_0>("q5_0");

} // namespace bitlathe
