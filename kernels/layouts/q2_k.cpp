// SPDX-License-Identifier: Apache-2.0
// GGUF q2_k: 256 values in 84 bytes. 0 scales of 16 values each (low nibble scale, high nibble
// minimum), 16 two-bit codes, 80 d f16, 82 dmin f16; x = d * scale * q - dmin * minimum.
#include "kernels/layouts/block.h"

namespace bitlathe {

namespace {

void decode(const std::uint8_t* b, std::int64_t n_blocks, float* out) {
  for (std::int64_t i = 0; i < n_blocks; ++i, b += 84, out += 256) {
    const float d = block_half(b + 80), dmin = block_half(b + 82);
    for (int e = 0; e < 256; ++e) {
      const int scale = b[e / 16], code = b[16 + e / 128 * 32 + e % 32] >> (e % 128 / 32 * 2) & 3;
      const float dl = d * float(scale & 15), ml = dmin * float(scale >> 4);
      out[e] = dl * float(code) - ml;
    }
  }
}

} // namespace

extern const Layout layout_q2_k;
const Layout layout_q2_k = block_layout<256, 84, decode, &cpu::Kernels::q2_k>("q2_k");

} // namespace bitlathe
