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

OutputError output_error(const float* weight, const float* coded, std::int64_t rows,
                         const InputStatistics& inputs) {
  const std::int64_t cols = inputs.cols;
  std::vector<OutputError> of_row(static_cast<std::size_t>(rows));
  parallel_for(rows, 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<double> difference(static_cast<std::size_t>(cols));
    for (std::int64_t row = begin; row < end; ++row) {
      const float* w = weight + row * cols;
      const float* v = coded + row * cols;
      for (std::int64_t c = 0; c < cols; ++c)
        difference[std::size_t(c)] = double(w[c]) - double(v[c]);
      OutputError& out = of_row[std::size_t(row)];
      for (std::int64_t a = 0; a < cols; ++a) {
        // Off the diagonal every moment stands for two.
        const double* h = inputs.moments.data() + a * cols;
        double error = 0, output = 0;
        for (std::int64_t b = 0; b < a; ++b) {
          error += h[b] * difference[std::size_t(b)];
          output += h[b] * double(w[b]);
        }
        out.error += difference[std::size_t(a)] * (2 * error + h[a] * difference[std::size_t(a)]);
        out.output += double(w[a]) * (2 * output + h[a] * double(w[a]));
      }
    }
  });
  OutputError sum;
  for (const OutputError& row : of_row) {
    sum.error += row.error;
    sum.output += row.output;
  }
  sum.error = std::max(sum.error, 0.0); // rounding may leave a little below
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
