// SPDX-License-Identifier: Apache-2.0
// GGUF q5_k: 256 values in 176 bytes. As q4_k, with the fifth bit of value l of the 32s k in bit k
// of byte l at 16, and the nibbles at 48.
#include "kernels/layouts/block.h"
#include "kernels/layouts/six_bits.h"

namespace bitlathe {

namespace {

void decode(const std::uint8_t* b, std::int64_t n_blocks, float* out) {
  for (std::int64_t i = 0; i < n_blocks; ++i, b += 176, out += 256) {
    const float d = block_half(b), dmin = block_half(b + 2);
    for (int s = 0; s < 8; ++s) { // 32 values share a scale and a minimum
      const SixBits six = six_bits(b + 4, s);
      const float dl = d * float(six.scale), ml = dmin * float(six.minimum);
      for (int l = 0; l < 32; ++l) {
        const int code = b[48 + s / 2 * 32 + l] >> (s % 2 * 4) & 15;
        const int fifth = b[16 + l] >> s & 1;
        out[32 * s + l] = dl * float(code | fifth << 4) - ml;
      }
    }
  }
}

} // namespace

extern const Layout layout_q5_k;
const Layout layout_q5_k = block_layout<256, 176, decode, &cpu::Kernels::q5_k>("q5_k");

} // namespace bitlathe
