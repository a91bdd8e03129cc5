// SPDX-License-Identifier: Apache-2.0
// Codes of four bits through a table of 16 values, in blocks of `group` values of the flattened
// weight that share an absmax, as bitsandbytes has them: w = table[code] * absmax.
//   codes   every row a dense bitstream, as in layout "int"
//   scales  absmax of every block, in `float_type`; with `nested`, codes of a byte
//   nested  f32: absmax of every 256 scales, then their mean;
//           scale = dynamic_map[code] * nested[block / 256] + mean
#pragma once

#include "kernels/compute/compute.h"
#include "kernels/layouts/table.h"
#include "kernels/num/nf4.h"

namespace bitlathe {

constexpr std::int64_t nested_block = 256;

inline float block_scale(const MatrixView& m, std::int64_t block) {
  if (m.nested.empty())
    return load_float(m.float_type, m.scales.data(), block);
  const auto last = std::int64_t(m.nested.size() / sizeof(float)) - 1;
  const float mean = load_float(FloatType::f32, m.nested.data(), last);
  const float scale = load_float(FloatType::f32, m.nested.data(), block / nested_block);
  const float product = dynamic_map[std::size_t(m.scales[std::size_t(block)])] * scale;
  return product + mean;
}

template <const std::array<float, 16>& table> struct Blockwise {
  static std::int64_t row_bytes(const MatrixView& m) { return int_row_bytes(m.cols, 4); }

  static void decode(const MatrixView& m, std::int64_t row, std::int64_t col, std::int64_t count,
                     float* out) {
    const auto& kernels = active_cpu_kernels();
    std::uint8_t codes[table_step];
    std::int64_t at = (m.row_origin + row) * m.cols + col; // of the flattened weight
    while (count > 0) {
      const std::int64_t n = std::min(table_step, count);
      unpack_codes(m, row, 4, col, n, codes);
      for (std::int64_t i = 0; i < n;) {
        const std::int64_t block = at / m.group;
        const std::int64_t part = std::min(n - i, (block + 1) * m.group - at);
        kernels.lookup(codes + i, part, table.data(), 16, block_scale(m, block), out + i);
        i += part;
        at += part;
      }
      out += n;
      col += n;
      count -= n;
    }
  }
};

/// For `const Layout layout_NAME = blockwise_layout<table>("NAME");`
template <const std::array<float, 16>& table>
constexpr Layout blockwise_layout(std::string_view id) {
  return {id, Blockwise<table>::row_bytes, Blockwise<table>::decode, 0, 0, nullptr, nullptr, true};
}

} // namespace bitlathe
