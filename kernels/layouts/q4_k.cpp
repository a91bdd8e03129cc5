// SPDX-License-Identifier: Apache-2.0
// GGUF q4_k: 256 values in 144 bytes. 0 d f16, 2 dmin f16, 4 six-bit scales and minima, 16 nibbles
// (32 bytes hold 64 values: low nibbles, then high ones); x = d * scale * q - dmin * minimum.
#include "kernels/layouts/block.h"
#include "kernels/layouts/six_bits.h"

namespace bitlathe {

namespace {

void decode(const std::uint8_t* b, std::int64_t n_blocks, float* out) {
  for (std::int64_t i = 0; i < n_blocks; ++i, b += 144, out += 256) {
    const float d = block_half(b), dmin = block_half(b + 2);
    for (int s = 0; s < 8; ++s) { // 32 values share a scale and a minimum
      const SixBits six = six_bits(b + 4, s);
      const float dl = d * float(six.scale), ml = dmin * float(six.minimum);
      for (int l = 0; l < 32; ++l) {
        const int code = b[16 + s / 2 * 32 + l] >> (s % 2 * 4) & 15;
        out[32 * s + l] = dl * float(code) - ml;
      }
    }
  }
}

} // namespace

extern const Layout layout_q4_k;
const Layout layout_q4_k = block_layout<256, 144, decode, &cpu::Kernels::q4_k>("q4_k");

} // namespace bitlathe
