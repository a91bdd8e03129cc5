// SPDX-License-Identifier: Apache-2.0
// Values as in layout "float", stored column by column: for a matrix that a file holds as [in,
// out]. `group` is the number of values from one column to the next.
#include "kernels/matrix.h"

namespace bitlathe {

namespace {

std::int64_t row_bytes(const MatrixView& m) {
  return m.cols * std::int64_t(float_size(m.float_type));
}

void decode(const MatrixView& m, std::int64_t row, std::int64_t col, std::int64_t count,
            float* out) {
  for (std::int64_t i = 0; i < count; ++i)
    out[i] = load_float(m.float_type, m.codes.data(), (col + i) * m.group + row);
}

} // namespace

extern const Layout layout_float_columns;
const Layout layout_float_columns{"float_columns", row_bytes, decode};

} // namespace bitlathe
