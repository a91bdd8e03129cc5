// SPDX-License-Identifier: GPL-3.0-or-later
// Input statistics for tests of methods that calibrate.
#pragma once

#include "core/methods/block.h"
#include "tests/support.h"

namespace bitlathe::test {

/// Of inputs whose columns are correlated and differ in size.
inline InputStatistics made_up_inputs(std::int64_t cols, std::int64_t tokens, std::uint32_t seed) {
  InputStatistics out;
  out.tokens = tokens;
  out.cols = cols;
  out.moments.resize(std::size_t(cols * cols));
  out.absmax.resize(std::size_t(cols));
  out.abs_sum.resize(std::size_t(cols));
  const auto noise = normal_noise(std::size_t(tokens * cols), seed);
  const auto size = normal_noise(std::size_t(cols), seed + 1);
  std::vector<double> x(static_cast<std::size_t>(cols));
  for (std::int64_t t = 0; t < tokens; ++t) {
    double before = 0;
    for (std::int64_t c = 0; c < cols; ++c) {
      before = 0.7 * before + double(noise[std::size_t(t * cols + c)]);
      x[std::size_t(c)] = before * std::exp(double(size[std::size_t(c)]));
    }
    for (std::int64_t a = 0; a < cols; ++a) {
      const double value = std::fabs(x[std::size_t(a)]);
      out.absmax[std::size_t(a)] = std::max(out.absmax[std::size_t(a)], float(value));
      out.abs_sum[std::size_t(a)] += value;
      for (std::int64_t b = 0; b <= a; ++b)
        out.moments[std::size_t(a * cols + b)] += x[std::size_t(a)] * x[std::size_t(b)];
    }
  }
  return out;
}

} // namespace bitlathe::test
