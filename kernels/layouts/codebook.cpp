// SPDX-License-Identifier: Apache-2.0
// Codes of `bits` bits that name the values of a codebook, which lies in `scales`: [2^bits] when
// `per_tensor`, else [rows][2^bits], in `float_type`, ascending. Codes are a dense bitstream per
// row, as in layout "int".
#include "kernels/compute/compute.h"
#include "kernels/layouts/table.h"

namespace bitlathe {

namespace {

std::int64_t row_bytes(const MatrixView& m) { return int_row_bytes(m.cols, m.bits); }

void decode(const MatrixView& m, std::int64_t row, std::int64_t col, std::int64_t count,
            float* out) {
  const auto& kernels = active_cpu_kernels();
  std::uint8_t codes[table_step];
  float values[256];
  const std::int64_t entries = std::int64_t(1) << m.bits;
  const std::int64_t first = m.per_tensor ? 0 : (m.row_origin + row) * entries;
  kernels.to_f32(int(m.float_type),
                 m.scales.data() + first * std::int64_t(float_size(m.float_type)), entries, values);
  for (std::int64_t n; count > 0; out += n, col += n, count -= n) {
    n = std::min(table_step, count);
    unpack_codes(m, row, m.bits, col, n, codes);
    kernels.lookup(codes, n, values, int(entries), 1.0f, out);
  }
}

} // namespace

extern const Layout layout_codebook;
const Layout layout_codebook{"codebook", row_bytes, decode, 0, 0, nullptr, nullptr, true};

} // namespace bitlathe
