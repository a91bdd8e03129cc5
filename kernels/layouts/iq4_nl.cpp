// SPDX-License-Identifier: Apache-2.0
// GGUF iq4_nl: 32 values in 18 bytes. 0 d f16, 2 nibbles as in q4_0; x = d * table[q].
#include "kernels/layouts/block.h"
#include "kernels/layouts/value_tables.h"

namespace bitlathe {

namespace {

void decode(const std::uint8_t* b, std::int64_t n_blocks, float* out) {
  for (std::int64_t i = 0; i < n_blocks; ++i, b += 18, out += 32) {
    const float d = block_half(b);
    for (int j = 0; j < 16; ++j) {
      out[j] = d * float(iq4_values[b[2 + j] & 15]);
      out[j + 16] = d * float(iq4_values[b[2 + j] >> 4]);
    }
  }
}

} // namespace

extern const Layout layout_iq4_nl;
const Layout layout_iq4_nl = block_layout<32, 18, decode, &cpu::Kernels::iq4_nl>("iq4_nl");

} // namespace bitlathe
