// SPDX-License-Identifier: Apache-2.0
// GGUF iq4_xs: 256 values in 136 bytes. 0 d f16, 2 upper two bits of eight scales (u16), 4 their
// low nibbles, 8 nibbles (every 32 values as in q4_0); x = d * (scale - 32) * table[q].
#include "kernels/layouts/block.h"
#include "kernels/layouts/value_tables.h"

namespace bitlathe {

namespace {

void decode(const std::uint8_t* b, std::int64_t n_blocks, float* out) {
  for (std::int64_t i = 0; i < n_blocks; ++i, b += 136, out += 256) {
    const float d = block_half(b);
    const int high = b[2] | b[3] << 8;
    for (int s = 0; s < 8; ++s) {
      const int scale = (b[4 + s / 2] >> (s % 2 * 4) & 15) | (high >> (2 * s) & 3) << 4;
      const float dl = d * float(scale - 32);
      for (int j = 0; j < 16; ++j) {
        const int code = b[8 + 16 * s + j];
        out[32 * s + j] = dl * float(iq4_values[code & 15]);
        out[32 * s + j + 16] = dl * float(iq4_values[code >> 4]);
      }
    }
  }
}

} // namespace

extern const Layout layout_iq4_xs;
const Layout layout_iq4_xs = block_layout<256, 136, decode, &cpu::Kernels::iq4_xs>("iq4_xs");

} // namespace bitlathe
