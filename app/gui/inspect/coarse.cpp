// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/inspect/coarse.h"

#include "core/schemes/deferred.h"
#include <algorithm>
#include <numeric>
#include <utility>

namespace bitlathe::gui {

Result<Histogram> coarse_histogram(const Module& module, int bins, std::int64_t values,
                                   Compute& compute, Feedback& feedback) {
  const QTensor& weight = module.weight;
  if (!weight.scheme.family || weight.rows < 1 || weight.cols < 1)
    return Error{"unsupported", "The weight has no values to look at", module.name};
  TRY_ASSIGN(const WeightUse use, weight.use());
  FloatView all;
  all.rows = weight.rows;
  all.cols = weight.cols;
  if (!weight.scheme.quantized)
    all = weight.floats();
  // A sample of stored rows, whichever way the matrix is stored.
  if (weight.by_columns)
    std::swap(all.rows, all.cols);
  constexpr std::int64_t most_runs = 32;
  const std::int64_t rows = std::clamp<std::int64_t>(values / all.cols, 1, all.rows);
  const std::int64_t runs = std::min(rows, most_runs);
  const std::int64_t per_run = rows / runs;
  std::vector<float> decoded; // of packed weights; plain ones are looked at where they are
  if (weight.scheme.quantized)
    decoded.resize(std::size_t(runs * per_run * all.cols));
  std::vector<FloatView> views;
  for (std::int64_t i = 0; i < runs; ++i) {
    const std::int64_t row = i * (all.rows - per_run) / std::max<std::int64_t>(runs - 1, 1);
    if (!weight.scheme.quantized) {
      views.push_back(all.slice(row, per_run));
      continue;
    }
    const auto part = std::span(decoded).subspan(std::size_t(i * per_run * all.cols),
                                                 std::size_t(per_run * all.cols));
    TRY(compute.decode(weight.view(), row, per_run, part, &feedback));
    views.push_back({FloatType::f32, per_run, all.cols, std::as_bytes(part)});
  }
  Histogram histogram;
  ValueRange range;
  for (const auto& view : views) {
    TRY_ASSIGN(const ValueRange part, value_range(view, &feedback));
    range.add(part);
  }
  const float lo = range.min, hi = std::max(range.max, range.min + 1e-6f);
  histogram.counts.assign(std::size_t(bins), 0);
  for (const auto& view : views) // adds to what is there
    TRY(compute.histogram(view, lo, hi, histogram.counts, &feedback));
  histogram.total = range.count;
  histogram.nan = range.nan;
  histogram.inf = range.inf;
  for (int i = 0; i <= bins; ++i)
    histogram.edges.push_back(double(lo) + (double(hi) - double(lo)) * i / bins);
  return histogram;
}

} // namespace bitlathe::gui
