// SPDX-License-Identifier: Apache-2.0
// Codes of 2 to 8 bits on integer grids (kernels/quant/int_grid.h), as a dense bitstream per row.
#include "kernels/compute/compute.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/kernels.h"
#include "kernels/matrix.h"

#include <algorithm>

namespace bitlathe {

namespace {

std::int64_t row_bytes(const MatrixView& m) { return int_row_bytes(m.cols, m.bits); }

void decode(const MatrixView& m, std::int64_t row, std::int64_t col, std::int64_t count,
            float* out) {
  constexpr std::int64_t step = 512;
  std::uint8_t codes[step];
  const auto& kernels = active_cpu_kernels();
  const std::uint8_t* packed = m.row(row);
  const std::int64_t end = col + count;
  while (col < end) {
    const std::int64_t group = m.group > 0 ? col / m.group : 0;
    const std::int64_t group_end = m.group > 0 ? (group + 1) * m.group : m.cols;
    const std::int64_t n = std::min({step, end - col, group_end - col});
    const std::int64_t at = m.per_tensor ? 0 : m.stored(row) * m.groups() + group;
    const float scale = load_float(m.float_type, m.scales.data(), at);
    const int zero = m.symmetric ? 1 << (m.bits - 1) : int(m.zeros[std::size_t(at)]);
    kernels.unpack(packed, row_bytes(m), m.bits, col, n, codes);
    kernels.dequantize(codes, n, scale, zero, out);
    out += n;
    col += n;
  }
}

} // namespace

extern const Layout layout_int;
const Layout layout_int{"int", row_bytes, decode};

} // namespace bitlathe
