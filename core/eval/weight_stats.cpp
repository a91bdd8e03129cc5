// SPDX-License-Identifier: Apache-2.0
#include "core/eval/weight_stats.h"

#include "core/model/transpose.h"
#include "core/schemes/deferred.h"
#include "kernels/base/parallel.h"

#include <algorithm>
#include <cmath>

namespace bitlathe {

namespace {

/// Rows decoded at a time: about 4 MiB of f32.
constexpr std::int64_t chunk_values = 1 << 20;

/// Calls `visit` with float views that together are the whole weight, top to bottom: the stored
/// values themselves, or decoded pieces of a packed weight.
template <class Visit>
Result<void> for_each_chunk(const Module& module, Compute& compute, const Feedback& feedback,
                            const Visit& visit) {
  TRY_ASSIGN(const WeightUse use, module.weight.use());
  const ByRows in_rows(module.weight);
  const QTensor& weight = *in_rows;
  if (weight.rows <= 0 || weight.cols <= 0)
    return Error{"bad-argument", "The module has no weight of its own", module.name};
  if (!weight.scheme.family)
    return Error{"unsupported", "Values stored as " + weight.scheme.id + " cannot be decoded",
                 module.name};
  const MatrixView view = weight.view();
  const bool plain = !weight.scheme.quantized;
  const std::int64_t step = std::max<std::int64_t>(1, chunk_values / weight.cols);
  std::vector<float> values;
  for (std::int64_t row = 0; row < weight.rows; row += plain ? weight.rows : step) {
    if (feedback.stopped())
      return cancelled_error();
    if (plain) {
      TRY(visit(weight.floats(), 0));
      continue;
    }
    const std::int64_t rows = std::min(step, weight.rows - row);
    values.resize(std::size_t(rows * weight.cols));
    TRY(compute.decode(view, row, rows, values, &feedback));
    TRY(visit(FloatView{FloatType::f32, rows, weight.cols, std::as_bytes(std::span(values))}, row));
  }
  return {};
}

Result<Moments> whole_moments(const Module& module, Compute& compute, const Feedback& feedback,
                              std::vector<Moments>* channels) {
  Moments all;
  std::vector<Moments> rows;
  const auto add_chunk = [&](const FloatView& w, std::int64_t) -> Result<void> {
    if (!channels && !module.weight.scheme.quantized) {
      TRY_ASSIGN(all, compute.moments(w, &feedback));
      return {};
    }
    rows.assign(std::size_t(w.rows), {});
    TRY(compute.row_moments(w, rows, &feedback));
    for (const Moments& row : rows) // row by row: the order moments() uses
      all.add(row);
    if (channels)
      channels->insert(channels->end(), rows.begin(), rows.end());
    return {};
  };
  TRY(for_each_chunk(module, compute, feedback, add_chunk));
  return all;
}

Result<void> check_bins(const Module& module, int bins, float lo, float hi) {
  if (bins < 1 || bins > 1 << 20)
    return Error{"bad-argument", "The number of bins must be between 1 and 1048576", module.name};
  if (!std::isfinite(lo) || !std::isfinite(hi))
    return Error{"bad-argument", "The range of a histogram must be finite", module.name};
  return {};
}

/// What Compute::histogram refuses: bins so narrow or wide that f32 cannot number them.
Result<void> check_width(const Module& module, int bins, float lo, float hi) {
  const float inverse = float(bins) / (hi - lo);
  if (!(lo < hi) || !std::isfinite(inverse) || inverse == 0)
    return Error{"bad-argument", "A histogram needs two finite ends, the lower below the upper",
                 module.name};
  return {};
}

} // namespace

Result<WeightStatistics> weight_statistics(const Module& module, Compute& compute, bool per_channel,
                                           Feedback& feedback) {
  WeightStatistics out;
  TRY_ASSIGN(out.moments,
             whole_moments(module, compute, feedback, per_channel ? &out.channels : nullptr));
  const double mean = out.moments.mean(), deviation = out.moments.stddev();
  const float lo = float(mean - 6 * deviation), hi = float(mean + 6 * deviation);
  if (out.moments.count == 0 || !(hi > lo) || (out.moments.min >= lo && out.moments.max <= hi))
    return out;
  std::uint64_t inside = 0;
  const auto add_chunk = [&](const FloatView& w, std::int64_t) -> Result<void> {
    return compute.histogram(w, lo, hi, std::span(&inside, 1), &feedback);
  };
  TRY(for_each_chunk(module, compute, feedback, add_chunk));
  out.outlier_fraction = double(out.moments.count - inside) / double(out.moments.count);
  return out;
}

Result<WeightValues> weight_values(const Module& module, Compute& compute, Feedback& feedback) {
  WeightValues out;
  const Scheme& scheme = module.weight.scheme;
  const bool on_cpu = compute.device().backend == "cpu";
  if (on_cpu && scheme.family && !scheme.quantized && scheme.float_type != FloatType::f32) {
    out.type = scheme.float_type;
    out.patterns.assign(bit_patterns, 0);
  }
  TRY(for_each_chunk(module, compute, feedback,
                     [&](const FloatView& w, std::int64_t) -> Result<void> {
                       if (!out.patterns.empty())
                         return count_patterns(w, out.patterns, &feedback);
                       if (on_cpu) {
                         TRY_ASSIGN(const ValueRange part, value_range(w, &feedback));
                         out.range.add(part);
                         return {};
                       }
                       TRY_ASSIGN(const Moments m, compute.moments(w, &feedback));
                       out.range.add({m.count, m.nan, m.inf, m.min, m.max});
                       return {};
                     }));
  if (!out.patterns.empty())
    out.range = pattern_range(out.type, out.patterns);
  return out;
}

Result<Histogram> weight_histogram(const Module& module, int bins, Compute& compute,
                                   Feedback& feedback, float lo, float hi) {
  TRY(check_bins(module, bins, lo, hi));
  TRY_ASSIGN(const WeightValues values, weight_values(module, compute, feedback));
  return weight_histogram(module, values, bins, compute, feedback, lo, hi);
}

Result<Histogram> weight_histogram(const Module& module, const WeightValues& values, int bins,
                                   Compute& compute, Feedback& feedback, float lo, float hi) {
  TRY(check_bins(module, bins, lo, hi));
  Histogram out;
  out.nan = values.range.nan;
  out.inf = values.range.inf;
  out.total = values.range.count + values.range.nan + values.range.inf;
  if (lo >= hi) {
    lo = values.range.min;
    hi = values.range.max;
  }
  if (lo >= hi) { // all values equal: a range around that value
    const float half = lo == 0 ? 0.5f : std::abs(lo) * 0.5f;
    hi = lo + half;
    lo -= half;
  }
  out.edges.resize(std::size_t(bins) + 1);
  for (int i = 0; i <= bins; ++i)
    out.edges[std::size_t(i)] = double(lo) + (double(hi) - double(lo)) * i / bins;
  out.edges.back() = double(hi);
  out.counts.assign(std::size_t(bins), 0);
  if (!values.patterns.empty()) {
    TRY(check_width(module, bins, lo, hi));
    pattern_histogram(values.type, values.patterns, lo, hi, out.counts);
    return out;
  }
  const auto add_chunk = [&](const FloatView& w, std::int64_t) -> Result<void> {
    return compute.histogram(w, lo, hi, out.counts, &feedback);
  };
  TRY(for_each_chunk(module, compute, feedback, add_chunk));
  return out;
}

std::vector<float> code_values(const QTensor& tensor, std::int64_t row, std::int64_t group) {
  if (!tensor.scheme.family || !tensor.scheme.quantized || row < 0 || row >= tensor.rows ||
      group < 0)
    return {};
  const auto use = tensor.use();
  if (!use)
    return {};
  const MatrixView view = tensor.view();
  std::vector<float> out;
  if (view.layout->id == "int") {
    if (group >= view.groups())
      return {};
    const std::int64_t at = view.per_tensor ? 0 : row * view.groups() + group;
    const float scale = load_float(view.float_type, view.scales.data(), at);
    const int zero = view.symmetric ? 1 << (view.bits - 1) : int(view.zeros[std::size_t(at)]);
    for (int u = 0; u < 1 << view.bits; ++u)
      out.push_back(scale * float(u - zero));
  } else { // blocks: every code of the simple types, else what the group holds
    const std::int64_t begin = group * view.group;
    const std::int64_t count = std::min(view.group, view.cols - begin);
    if (count <= 0)
      return {};
    const std::int64_t skip = begin % 32; // decoding starts at a multiple of 32
    std::vector<float> values(std::size_t(skip + count));
    view.layout->decode(view, row, begin - skip, skip + count, values.data());
    const std::int64_t block_bytes =
        view.layout->row_bytes(view) / std::max<std::int64_t>(1, view.cols / 32);
    const auto* block = reinterpret_cast<const std::byte*>(view.row(row)) + group * block_bytes;
    if (view.layout->id == "q4_0") {
      const float d = load_float(FloatType::f16, block, 0);
      for (int u = 0; u < 16; ++u)
        out.push_back(d * float(u - 8));
    } else if (view.layout->id == "q4_1") {
      const float d = load_float(FloatType::f16, block, 0);
      const float m = load_float(FloatType::f16, block, 1);
      for (int u = 0; u < 16; ++u)
        out.push_back(d * float(u) + m);
    } else if (view.layout->id == "q8_0") {
      const float d = load_float(FloatType::f16, block, 0);
      for (int u = -127; u <= 127; ++u)
        out.push_back(d * float(u));
    } else {
      out.assign(values.begin() + skip, values.end());
    }
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

} // namespace bitlathe
