// SPDX-License-Identifier: Apache-2.0
// GGUF q6_k: 256 values in 210 bytes. 0 low nibbles, 128 upper two bits, 192 signed scales of 16
// values each, 208 d f16; x = d * scale * (q - 32).
#include "kernels/layouts/block.h"

namespace bitlathe {

namespace {

void decode(const std::uint8_t* b, std::int64_t n_blocks, float* out) {
  for (std::int64_t i = 0; i < n_blocks; ++i, b += 210, out += 256) {
    const float d = block_half(b + 208);
    for (int e = 0; e < 256; ++e) {
      const int half = e / 128, in = e % 128, quarter = in / 32, l = in % 32;
      const int low = b[64 * half + in % 64] >> (quarter / 2 * 4) & 15;
      const int high = b[128 + 32 * half + l] >> (quarter * 2) & 3;
      const float dl = d * float(std::int8_t(b[192 + e / 16]));
      out[e] = dl * float((low | high << 4) - 32);
    }
  }
}

} // namespace

extern const Layout layout_q6_k;
const Layout layout_q6_k = block_layout<256, 210, decode, &cpu::Kernels::q6_k>("q6_k");

} // namespace bitlathe
