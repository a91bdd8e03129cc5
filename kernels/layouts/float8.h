// SPDX-License-Identifier: Apache-2.0
// Floats of eight bits (kernels/num/float8.h), one byte each; w = value * scale.
//   scales  one (`per_tensor`), else one per tile of `group_rows` x `group`, tiles row by row:
//           [ceil(rows / group_rows)][ceil(cols / group)]; those at the edges may be smaller
#pragma once

#include "kernels/layouts/table.h"
#include "kernels/num/float8.h"

#include <array>

namespace bitlathe {

template <float (*to_f32)(std::uint8_t)> struct Float8 {
  static std::int64_t row_bytes(const MatrixView& m) { return m.cols; }

  static const std::array<float, 256>& values() {
    static const std::array<float, 256> table = [] {
      std::array<float, 256> out{};
      for (std::size_t code = 0; code < out.size(); ++code)
        out[code] = to_f32(std::uint8_t(code));
      return out;
    }();
    return table;
  }

  static void decode(const MatrixView& m, std::int64_t row, std::int64_t col, std::int64_t count,
                     float* out) {
    const auto& kernels = active_cpu_kernels();
    const std::uint8_t* codes = m.row(row);
    const std::int64_t first = (m.row_origin + row) / m.group_rows * m.groups();
    while (count > 0) {
      const std::int64_t tile = m.group > 0 ? col / m.group : 0;
      const std::int64_t n = m.group > 0 ? std::min(count, (tile + 1) * m.group - col) : count;
      const std::int64_t at = m.per_tensor ? 0 : first + tile;
      kernels.lookup(codes + col, n, values().data(), 256,
                     load_float(m.float_type, m.scales.data(), at), out);
      out += n;
      col += n;
      count -= n;
    }
  }
};

/// For `const Layout layout_NAME = float8_layout<to_f32>("NAME");`
template <float (*to_f32)(std::uint8_t)> constexpr Layout float8_layout(std::string_view id) {
  return {id, Float8<to_f32>::row_bytes, Float8<to_f32>::decode, 0, 0, nullptr, nullptr, true};
}

} // namespace bitlathe
