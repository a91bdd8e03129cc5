// SPDX-License-Identifier: Apache-2.0
// GGUF q8_0: 32 values in 34 bytes. 0 d f16, 2 signed bytes; x = q * d.
#include "kernels/layouts/block.h"

namespace bitlathe {

namespace {

void decode(const std::uint8_t* b, std::int64_t n_blocks, float* out) {
  for (std::int64_t i = 0; i < n_blocks; ++i, b += 34, out += 32) {
    const float d = block_half(b);
    for (int j = 0; j < 32; ++j)
      out[j] = float(std::int8_t(b[2 + j])) * d;
  }
}

} // namespace

extern const Layout layout_q8_0;
const Layout layout_q8_0 = block_layout<32, 34, decode, &cpu::Kernels::q8_0>("q8_0");

} // namespace bitlathe
