// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/inspect/coarse.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace bitlathe::gui {

Result<Histogram> coarse_histogram(const Module& module, int bins, std::int64_t values,
                                   Compute& compute, Feedback& feedback) {
  const QTensor& weight = module.weight;
  if (weight.scheme.quantized || weight.rows < 1 || weight.cols < 1)
    return Error{"unsupported", "Only plain float weights have a coarse picture", module.name};
  FloatView all = weight.floats();
  // A sample of stored rows, whichever way the matrix is stored.
  if (weight.by_columns)
    std::swap(all.rows, all.cols);
  constexpr std::int64_t most_runs = 32;
  const std::int64_t rows = std::clamp<std::int64_t>(values / all.cols, 1, all.rows);
  const std::int64_t runs = std::min(rows, most_runs);
  const std::int64_t per_run = rows / runs;
  std::vector<FloatView> views;
  for (std::int64_t i = 0; i < runs; ++i)
    views.push_back(
        all.slice(i * (all.rows - per_run) / std::max<std::int64_t>(runs - 1, 1), per_run));
  Moments moments;
  for (const auto& view : views) {
    TRY_ASSIGN(const Moments part, compute.moments(view, &feedback));
    moments.add(part);
  }
  Histogram histogram;
  const float lo = moments.min, hi = std::max(moments.max, moments.min + 1e-6f);
  std::vector<std::uint64_t> counts(std::size_t(bins), 0);
  for (const auto& view : views) {
    // Adds to what is there.
    TRY(compute.histogram(view, lo, hi, counts, &feedback));
  }
  histogram.total = moments.count;
  histogram.nan = moments.nan;
  histogram.inf = moments.inf;
  histogram.counts = std::move(counts);
  for (int i = 0; i <= bins; ++i)
    histogram.edges.push_back(double(lo) + (double(hi) - double(lo)) * i / bins);
  return histogram;
}

} // namespace bitlathe::gui
