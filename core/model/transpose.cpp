// SPDX-License-Identifier: Apache-2.0
#include "core/model/transpose.h"

#include "kernels/base/parallel.h"

#include <algorithm>
#include <cstring>

namespace bitlathe {

namespace {

/// Tiles keep both sides within the caches.
template <class T>
void exchange(const std::byte* in, std::byte* out, std::int64_t rows, std::int64_t cols) {
  constexpr std::int64_t tile = 64;
  parallel_for((cols + tile - 1) / tile, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c0 = begin * tile; c0 < std::min(end * tile, cols); c0 += tile)
      for (std::int64_t r0 = 0; r0 < rows; r0 += tile)
        for (std::int64_t c = c0; c < std::min(c0 + tile, cols); ++c)
          for (std::int64_t r = r0; r < std::min(r0 + tile, rows); ++r)
            std::memcpy(out + (c * rows + r) * std::int64_t(sizeof(T)),
                        in + (r * cols + c) * std::int64_t(sizeof(T)), sizeof(T));
  });
}

void exchange(FloatType type, const std::byte* in, std::byte* out, std::int64_t rows,
              std::int64_t cols) {
  if (float_size(type) == 4)
    exchange<std::uint32_t>(in, out, rows, cols);
  else
    exchange<std::uint16_t>(in, out, rows, cols);
}

} // namespace

void read_by_columns(QTensor& weight) {
  std::swap(weight.rows, weight.cols);
  weight.by_columns = !weight.by_columns;
}

ByRows::ByRows(const QTensor& weight) : weight_(weight) {
  if (!weight.by_columns)
    return;
  copy_ = std::make_unique<QTensor>();
  copy_->scheme = weight.scheme;
  copy_->rows = weight.rows;
  copy_->cols = weight.cols;
  copy_->owned_codes.resize(weight.codes.size());
  exchange(weight.scheme.float_type, weight.codes.data(), copy_->owned_codes.data(), weight.cols,
           weight.rows);
  copy_->own();
}

std::vector<std::byte> transposed_values(const QTensor& stored, FloatType type) {
  if (stored.by_columns && stored.scheme.float_type == type)
    return {stored.codes.begin(), stored.codes.end()};
  const ByRows rows(stored);
  const QTensor& weight = *rows;
  std::vector<std::byte> out(std::size_t(weight.rows * weight.cols) * float_size(type));
  if (!weight.scheme.quantized && weight.scheme.float_type == type && !weight.row_order) {
    exchange(type, weight.codes.data(), out.data(), weight.rows, weight.cols);
    return out;
  }
  std::vector<std::byte> plain(out.size());
  const MatrixView view = weight.view();
  parallel_for(weight.rows, 16, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> values(static_cast<std::size_t>(weight.cols));
    for (std::int64_t row = begin; row < end; ++row) {
      view.layout->decode(view, row, 0, weight.cols, values.data());
      for (std::int64_t col = 0; col < weight.cols; ++col)
        store_float(type, plain.data(), row * weight.cols + col, values[std::size_t(col)]);
    }
  });
  exchange(type, plain.data(), out.data(), weight.rows, weight.cols);
  return out;
}

} // namespace bitlathe
