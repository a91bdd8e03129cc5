// SPDX-License-Identifier: Apache-2.0
// Second moments from the products a backend has: strips of rows of x^T x, down to the diagonal.
#include "kernels/base/parallel.h"
#include "kernels/compute/compute.h"

#include <algorithm>

namespace bitlathe {

Result<void> Compute::second_moments(const float* x, std::int64_t m, std::int64_t cols,
                                     std::span<double> h, const Feedback* feedback) {
  constexpr std::int64_t chunk = 256, strip = 512;
  std::vector<float> turned, product;
  for (std::int64_t first = 0; first < m; first += chunk) {
    if (feedback && feedback->stopped())
      return cancelled_error();
    const std::int64_t n = std::min(chunk, m - first);
    turned.resize(std::size_t(cols * n));
    parallel_for(cols, std::max<std::int64_t>(1, 16384 / n),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t c = begin; c < end; ++c)
                     for (std::int64_t t = 0; t < n; ++t)
                       turned[std::size_t(c * n + t)] = x[(first + t) * cols + c];
                 });
    for (std::int64_t row = 0; row < cols; row += strip) {
      const std::int64_t rows = std::min(strip, cols - row), wide = row + rows;
      MatrixView w;
      w.layout = find_layout("float");
      w.rows = wide;
      w.cols = n;
      w.codes = std::as_bytes(std::span(turned)).first(std::size_t(wide * n) * sizeof(float));
      TRY_ASSIGN(const auto loaded, load(w));
      product.resize(std::size_t(rows * wide));
      TRY(matmul(turned.data() + row * n, rows, *loaded, product.data()));
      parallel_for(
          rows, std::max<std::int64_t>(1, 16384 / wide), [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t r = begin; r < end; ++r)
              for (std::int64_t c = 0; c <= row + r; ++c)
                h[std::size_t((row + r) * cols + c)] += double(product[std::size_t(r * wide + c)]);
          });
    }
  }
  return {};
}

} // namespace bitlathe
