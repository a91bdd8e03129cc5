// SPDX-License-Identifier: Apache-2.0
// GGUF q4_0: blocks of 32 values in 18 bytes. d f16, 16 bytes (low nibbles first half); x = (q - 8)
// * d.
#include "kernels/cpu/isa.h"
#include "kernels/cpu/kernels.h"
#include "kernels/matrix.h"

#include <algorithm>

namespace bitlathe {

namespace {

std::int64_t row_bytes(const MatrixView& m) { return m.cols / 32 * 18; }

void decode(const MatrixView& m, std::int64_t row, std::int64_t col, std::int64_t count,
            float* out) {
  const auto* blocks =
      reinterpret_cast<const std::uint8_t*>(m.codes.data()) + row * row_bytes(m) + col / 32 * 18;
  const auto& kernels = active_cpu_kernels();
  kernels.decode_q4_0(blocks, count / 32, out);
  if (const std::int64_t rest = count % 32) { // the caller may stop inside a block
    float tail[32];
    kernels.decode_q4_0(blocks + count / 32 * 18, 1, tail);
    std::copy(tail, tail + rest, out + (count - rest));
  }
}

} // namespace

extern const Layout layout_q4_0;
const Layout layout_q4_0{"q4_0", row_bytes, decode};

} // namespace bitlathe
