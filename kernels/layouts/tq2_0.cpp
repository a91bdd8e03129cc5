// SPDX-License-Identifier: Apache-2.0
// GGUF tq2_0: 256 values in 66 bytes. 0 two-bit codes as in q2_k, 64 d f16; x = (q - 1) * d.
#include "kernels/layouts/block.h"

namespace bitlathe {

namespace {

void decode(const std::uint8_t* b, std::int64_t n_blocks, float* out) {
  for (std::int64_t i = 0; i < n_blocks; ++i, b += 66, out += 256) {
    const float d = block_half(b + 64);
    for (int e = 0; e < 256; ++e)
      out[e] = float((b[e / 128 * 32 + e % 32] >> (e % 128 / 32 * 2) & 3) - 1) * d;
  }
}

} // namespace

extern const Layout layout_tq2_0;
const Layout layout_tq2_0 = block_layout<256, 66, decode, &cpu::Kernels::tq2_0>("tq2_0");

} // namespace bitlathe
