// SPDX-License-Identifier: Apache-2.0
// Integer codes whose columns stand in another order (MatrixView::column_order): decoding puts them
// back. Products take the stored order and bring the other side into it instead.
#include "kernels/matrix.h"

#include <vector>

namespace bitlathe {

namespace {

std::int64_t row_bytes(const MatrixView& m) { return find_layout("int")->row_bytes(m); }

void decode(const MatrixView& m, std::int64_t row, std::int64_t col, std::int64_t count,
            float* out) {
  thread_local std::vector<float> stored;
  stored.resize(std::size_t(m.cols));
  find_layout("int")->decode(m, row, 0, m.cols, stored.data());
  for (std::int64_t i = 0; i < m.cols; ++i)
    if (const std::int64_t to = m.column_order[std::size_t(i)] - col; to >= 0 && to < count)
      out[to] = stored[std::size_t(i)];
}

} // namespace

extern const Layout layout_int_ordered;
const Layout layout_int_ordered{"int_ordered", row_bytes, decode};

} // namespace bitlathe
