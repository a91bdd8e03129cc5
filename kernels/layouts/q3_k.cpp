// SPDX-License-Identifier: Apache-2.0
// GGUF q3_k: 256 values in 110 bytes. 0 third bits (bit k of byte l: element 32 k + l), 32 low two
// bits as in q2_k, 96 sixteen six-bit scales in 12 bytes, 108 d f16; x = d * (scale - 32) * (q -
// 4).
#include "kernels/layouts/block.h"

namespace bitlathe {

namespace {

/// Scale `s` of 16: low nibbles in bytes 0-7, two high bits in bytes 8-11.
int scale_of(const std::uint8_t* scales, int s) {
  const int low = s < 8 ? scales[s] & 15 : scales[s - 8] >> 4;
  return (low | (scales[8 + s % 4] >> (s / 4 * 2) & 3) << 4) - 32;
}

void decode(const std::uint8_t* b, std::int64_t n_blocks, float* out) {
  for (std::int64_t i = 0; i < n_blocks; ++i, b += 110, out += 256) {
    const float d = block_half(b + 108);
    for (int s = 0; s < 16; ++s) {
      const float dl = d * float(scale_of(b + 96, s));
      for (int e = 16 * s; e < 16 * s + 16; ++e) {
        const int low = b[32 + e / 128 * 32 + e % 32] >> (e % 128 / 32 * 2) & 3;
        const int high = b[e % 32] >> (e / 32) & 1;
        out[e] = dl * float(low + 4 * high - 4);
      }
    }
  }
}

} // namespace

extern const Layout layout_q3_k;
const Layout layout_q3_k = block_layout<256, 110, decode, &cpu::Kernels::q3_k>("q3_k");

} // namespace bitlathe
