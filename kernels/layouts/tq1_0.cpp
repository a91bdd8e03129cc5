// SPDX-License-Identifier: Apache-2.0
// GGUF tq1_0: 256 values in 54 bytes. 0 240 values, five in a byte, 48 the last 16, four in a byte,
// 52 d f16; x = (q - 1) * d.
#include "kernels/layouts/block.h"
#include "kernels/layouts/value_tables.h"

namespace bitlathe {

namespace {

void decode(const std::uint8_t* b, std::int64_t n_blocks, float* out) {
  for (std::int64_t i = 0; i < n_blocks; ++i, b += 54) {
    const float d = block_half(b + 52);
    const auto put = [&](int first, int bytes, int digits) {
      for (int n = 0; n < digits; ++n)
        for (int m = 0; m < bytes; ++m)
          *out++ = float(tq1_digit(b[first + m], n) - 1) * d;
    };
    put(0, 32, 5);
    put(32, 16, 5);
    put(48, 4, 4);
  }
}

} // namespace

extern const Layout layout_tq1_0;
const Layout layout_tq1_0 = block_layout<256, 54, decode, &cpu::Kernels::tq1_0>("tq1_0");

} // namespace bitlathe
