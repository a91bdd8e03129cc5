// SPDX-License-Identifier: Apache-2.0
#include "core/engine/linear.h"

#include "core/schemes/activations.h"

#include <algorithm>
#include <limits>

namespace bitlathe {

namespace {

/// Adds what a scan found; true when every value is finite.
bool count(std::span<const TokenScan> tokens, ActivationCounts& counts) {
  ++counts.calls;
  counts.tokens += tokens.size();
  bool finite = true;
  for (const TokenScan& token : tokens) {
    counts.nan += token.nan;
    counts.inf += token.inf;
    counts.broken_tokens += !token.finite();
    counts.zero_tokens += token.finite() && token.absmax == 0;
    counts.absmax = std::max(counts.absmax, token.absmax);
    finite = finite && token.finite();
  }
  return finite;
}

} // namespace

Result<void> run_linear(Compute& compute, const Linear& linear, const float* x, std::int64_t m,
                        float* y) {
  const std::int64_t cols = linear.cols(), rows = linear.rows();
  std::vector<TokenScan> tokens(std::size_t(m), TokenScan{});
  scan_tokens(x, cols, tokens);
  const bool finite = count(tokens, *linear.counts);
  std::vector<float> ordered; // weights with an order of columns: x in that order
  if (!linear.column_order.empty()) {
    ordered.resize(std::size_t(m * cols));
    for (std::int64_t t = 0; t < m; ++t)
      for (std::int64_t c = 0; c < cols; ++c)
        ordered[std::size_t(t * cols + c)] = x[t * cols + linear.column_order[std::size_t(c)]];
    x = ordered.data();
  }
  if (!linear.activations)
    return compute.matmul(x, m, *linear.loaded, y);
  std::vector<float> repaired;
  if (!finite) {
    repaired.assign(x, x + m * cols);
    for (std::int64_t t = 0; t < m; ++t)
      if (!tokens[std::size_t(t)].finite()) {
        std::fill_n(repaired.begin() + t * cols, cols, 0.0f);
        tokens[std::size_t(t)].absmax = 0;
      }
    x = repaired.data();
  }
  TRY(linear.activations->multiply({compute, *linear.loaded, linear.view, x, m, tokens,
                                    linear.activation_scale, linear.outlier_threshold, y,
                                    *linear.counts}));
  if (!finite) // codes would hide it
    for (std::int64_t t = 0; t < m; ++t)
      if (!tokens[std::size_t(t)].finite())
        std::fill_n(y + t * rows, rows, std::numeric_limits<float>::quiet_NaN());
  return {};
}

} // namespace bitlathe
