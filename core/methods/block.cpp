// SPDX-License-Identifier: Apache-2.0
#include "core/methods/block.h"

#include "kernels/base/parallel.h"

#include <algorithm>

namespace bitlathe {

void InputStatistics::divide(std::span<const float> divisor) {
  assert(std::int64_t(divisor.size()) == cols);
  for (std::int64_t a = 0; a < cols; ++a) {
    const double by = double(divisor[std::size_t(a)]);
    absmax[std::size_t(a)] = float(double(absmax[std::size_t(a)]) / by);
    abs_sum[std::size_t(a)] /= by;
    if (!moments.empty())
      for (std::int64_t b = 0; b <= a; ++b)
        moments[std::size_t(a * cols + b)] /= by * double(divisor[std::size_t(b)]);
  }
}

Result<OutputNorm> OutputNorm::create(const InputStatistics& inputs, Compute& compute) {
  OutputNorm out;
  out.compute_ = &compute;
  out.cols_ = inputs.cols;
  out.moments_.resize(std::size_t(inputs.cols * inputs.cols));
  for (std::int64_t a = 0; a < inputs.cols; ++a)
    for (std::int64_t b = 0; b <= a; ++b)
      out.moments_[std::size_t(a * inputs.cols + b)] =
          out.moments_[std::size_t(b * inputs.cols + a)] = float(inputs.moment(a, b));
  MatrixView view;
  view.layout = find_layout("float");
  view.rows = view.cols = inputs.cols;
  view.codes = std::as_bytes(std::span(out.moments_));
  TRY_ASSIGN(out.loaded_, compute.load(view));
  return out;
}

Result<std::vector<double>> OutputNorm::rows_of(std::span<const float> matrix) const {
  const auto rows = std::int64_t(matrix.size()) / cols_;
  std::vector<double> out(static_cast<std::size_t>(rows));
  constexpr std::int64_t piece = 1024;
  std::vector<float> product;
  for (std::int64_t first = 0; first < rows; first += piece) {
    const std::int64_t n = std::min(piece, rows - first);
    const float* d = matrix.data() + first * cols_;
    product.resize(std::size_t(n * cols_));
    TRY(compute_->matmul(d, n, *loaded_, product.data()));
    parallel_for(n, 16, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        double sum = 0;
        for (std::int64_t c = 0; c < cols_; ++c)
          sum += double(d[r * cols_ + c]) * double(product[std::size_t(r * cols_ + c)]);
        out[std::size_t(first + r)] = std::max(sum, 0.0); // rounding may leave a little below
      }
    });
  }
  return out;
}

Result<double> OutputNorm::of(std::span<const float> matrix) const {
  TRY_ASSIGN(const std::vector<double> rows, rows_of(matrix));
  double sum = 0;
  for (const double row : rows)
    sum += row;
  return sum;
}

BlockLinear* CalibratedBlock::linear(std::string_view part) {
  for (BlockLinear& linear : linears)
    if (linear.module->part == part)
      return &linear;
  return nullptr;
}

BlockWeight* CalibratedBlock::norm(std::string_view part) {
  for (BlockWeight& norm : norms)
    if (norm.module->part == part)
      return &norm;
  return nullptr;
}

} // namespace bitlathe
