// SPDX-License-Identifier: Apache-2.0
// Codes u of `bits` bits with a scale and an offset per group of columns, both floats, as MLX has
// them: w = scale * u + offset.
//   codes   every row a dense bitstream, as in layout "int"
//   scales  [rows][groups] in `float_type`; negative ones are usual
//   zeros   the offsets, alike
#include "kernels/compute/compute.h"
#include "kernels/layouts/table.h"

namespace bitlathe {

namespace {

std::int64_t row_bytes(const MatrixView& m) { return int_row_bytes(m.cols, m.bits); }

void decode(const MatrixView& m, std::int64_t row, std::int64_t col, std::int64_t count,
            float* out) {
  const auto& kernels = active_cpu_kernels();
  std::uint8_t codes[table_step];
  const std::int64_t first = (m.row_origin + row) * m.groups();
  for (std::int64_t n; count > 0; out += n, col += n, count -= n) {
    const std::int64_t group = col / m.group;
    n = std::min({table_step, count, (group + 1) * m.group - col});
    unpack_codes(m, row, m.bits, col, n, codes);
    kernels.dequantize(codes, n, load_float(m.float_type, m.scales.data(), first + group), 0, out);
    const float offset = load_float(m.float_type, m.zeros.data(), first + group);
    for (std::int64_t i = 0; i < n; ++i)
      out[i] += offset;
  }
}

} // namespace

/// "groups_cross_rows": scales and offsets stay whole when rows are cut out, because `zeros` are no
/// bytes.
extern const Layout layout_affine;
const Layout layout_affine{"affine", row_bytes, decode, 0, 0, nullptr, nullptr, true};

} // namespace bitlathe
