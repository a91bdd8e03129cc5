// SPDX-License-Identifier: Apache-2.0
#include "kernels/linalg/cholesky.h"

#include "kernels/base/parallel.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/kernels.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace bitlathe {

namespace {
constexpr std::int64_t block = 64;
constexpr std::int64_t strip = 256; ///< columns of a product that one task takes
} // namespace

void subtract_product(double* w, std::int64_t w_stride, const double* e, std::int64_t e_stride,
                      const double* u, std::int64_t u_stride, std::int64_t rows, std::int64_t k,
                      std::int64_t n) {
  active_cpu_kernels().subtract_product(w, w_stride, e, e_stride, u, u_stride, rows, k, n);
}

Factored cholesky(std::span<double> a, std::int64_t n, const Feedback* feedback) {
  double* m = a.data();
  std::vector<double> turned;
  for (std::int64_t first = 0; first < n; first += block) {
    if (feedback && feedback->stopped())
      return Factored::cancelled;
    const std::int64_t size = std::min(block, n - first), rest = first + size;
    // The diagonal block, then the rows below it.
    for (std::int64_t i = first; i < rest; ++i) {
      for (std::int64_t j = first; j <= i; ++j) {
        double sum = m[i * n + j];
        for (std::int64_t k = first; k < j; ++k)
          sum -= m[i * n + k] * m[j * n + k];
        if (i == j) {
          if (!(sum > 0) || !std::isfinite(sum))
            return Factored::not_positive_definite;
          m[i * n + i] = std::sqrt(sum);
        } else {
          m[i * n + j] = sum / m[j * n + j];
        }
      }
      std::fill(m + i * n + i + 1, m + (i + 1) * n, 0.0);
    }
    const std::int64_t below = n - rest;
    turned.resize(std::size_t(size * below)); // [size][below]
    parallel_for(below, 16, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        double* row = m + (rest + r) * n;
        for (std::int64_t j = first; j < rest; ++j) {
          double sum = row[j];
          for (std::int64_t k = first; k < j; ++k)
            sum -= row[k] * m[j * n + k];
          row[j] = sum / m[j * n + j];
          turned[std::size_t((j - first) * below + r)] = row[j];
        }
      }
    });
    parallel_for((below + block - 1) / block, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t b = begin; b < end; ++b) {
        const std::int64_t r = b * block, rows = std::min(block, below - r);
        // Up to the end of the block on the diagonal; what lies above it is cleared later.
        subtract_product(m + (rest + r) * n + rest, n, m + (rest + r) * n + first, n, turned.data(),
                         below, rows, size, r + rows);
      }
    });
  }
  return Factored::done;
}

bool invert_lower(std::span<const double> l, std::int64_t n, std::span<double> out,
                  const Feedback* feedback) {
  const double* m = l.data();
  double* x = out.data();
  std::fill(out.begin(), out.end(), 0.0);
  for (std::int64_t first = 0; first < n; first += block) {
    if (feedback && feedback->stopped())
      return false;
    const std::int64_t size = std::min(block, n - first), rest = first + size;
    for (std::int64_t i = first; i < rest; ++i)
      x[i * n + i] = 1;
    parallel_for((rest + strip - 1) / strip, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t s = begin; s < end; ++s) {
        const std::int64_t col = s * strip, cols = std::min(strip, rest - col);
        // Rows above `col` of these columns are zero.
        if (col < first)
          subtract_product(x + first * n + col, n, m + first * n + col, n, x + col * n + col, n,
                           size, first - col, cols);
        for (std::int64_t i = first; i < rest; ++i) {
          subtract_product(x + i * n + col, n, m + i * n + first, n, x + first * n + col, n, 1,
                           i - first, cols);
          for (std::int64_t c = col; c < col + cols; ++c)
            x[i * n + c] /= m[i * n + i];
        }
      }
    });
  }
  return true;
}

Factored inverse_factor(std::span<const double> a, std::int64_t n, std::span<double> u,
                        const Feedback* feedback) {
  std::vector<double> factor(static_cast<std::size_t>(n * n));
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j <= i; ++j)
      factor[std::size_t(i * n + j)] = a[std::size_t((n - 1 - j) * n + (n - 1 - i))];
  const Factored factored = cholesky(factor, n, feedback);
  if (factored != Factored::done)
    return factored;
  if (!invert_lower(factor, n, u, feedback))
    return Factored::cancelled;
  std::reverse(u.begin(), u.end());
  return Factored::done;
}

} // namespace bitlathe
