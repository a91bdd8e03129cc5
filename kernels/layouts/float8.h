// SPDX-License-Identifier: Apache-2.0
// Floats of eight bits (kernels/num/float8.h), one byte each; w = value * scale.
//   scales  one (`per_tensor`), else one per tile of `group_rows` x `group`, tiles row by row:
//           [ceil(rows / group_rows)][ceil(cols / group)]; those at the edges may be smaller
#pragma once

#include "kernels/layouts/table.h"

namespace bitlathe {

template <bool e5m2> struct Float8 {
  static std::int64_t row_bytes(const MatrixView& m) { return m.cols; }

  static void decode(const MatrixView& m, std::int64_t row, std::int64_t col, std::int64_t count,
                     float* out) {
    const auto& kernels = active_cpu_kernels();
    const std::uint8_t* codes = m.row(row);
    const std::int64_t first = (m.row_origin + row) / m.group_rows * m.groups();
    while (count > 0) {
      const std::int64_t tile = m.group > 0 ? col / m.group : 0;
      const std::int64_t n = m.group > 0 ? std::min(count, (tile + 1) * m.group - col) : count;
      const std::int64_t at = m.per_tensor ? 0 : first + tile;
      kernels.decode_f8(e5m2, codes + col, n, load_float(m.float_type, m.scales.data(), at), out);
      out += n;
      col += n;
      count -= n;
    }
  }
};

/// For `const Layout layout_NAME = float8_layout<e5m2>("NAME");`
template <bool e5m2> constexpr Layout float8_layout(std::string_view id) {
  return {id, Float8<e5m2>::row_bytes, Float8<e5m2>::decode, 0, 0, nullptr, nullptr, true};
}

} // namespace bitlathe
