// SPDX-License-Identifier: Apache-2.0
#include "core/methods/observed_ranges.h"

#include "core/methods/int_pack.h"
#include "kernels/base/parallel.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/kernels.h"
#include "kernels/values.h"

#include <algorithm>
#include <cmath>

namespace bitlathe {

Result<AllValues> all_values(const MethodInput& input) {
  const FloatView& w = input.weight;
  AllValues all;
  if (w.type == FloatType::f32) {
    all.values.resize(std::size_t(w.rows * w.cols));
    for (std::int64_t row = 0; row < w.rows; ++row) {
      for (std::int64_t col = 0; col < w.cols; ++col)
        all.values[std::size_t(row * w.cols + col)] = load_float(w.type, w.row(row), col);
      all.weights.insert(all.weights.end(), input.importance.begin(), input.importance.end());
      if (input.feedback.stopped())
        return cancelled_error();
    }
    return all;
  }
  std::vector<std::uint64_t> patterns(bit_patterns);
  TRY(count_patterns(w, patterns, &input.feedback));
  std::vector<double> weights(input.importance.empty() ? 0 : bit_patterns);
  if (!weights.empty())
    for (std::int64_t row = 0; row < w.rows; ++row) {
      const auto* at = reinterpret_cast<const std::uint8_t*>(w.row(row));
      for (std::int64_t col = 0; col < w.cols; ++col)
        weights[std::size_t(at[2 * col] | at[2 * col + 1] << 8)] +=
            double(input.importance[std::size_t(col)]);
      if (input.feedback.stopped())
        return cancelled_error();
    }
  for (std::size_t p = 0; p < bit_patterns; ++p)
    if (patterns[p] > 0) {
      const auto bits = std::uint16_t(p);
      all.values.push_back(load_float(w.type, reinterpret_cast<const std::byte*>(&bits), 0));
      all.counts.push_back(double(patterns[p]));
      if (!weights.empty())
        all.weights.push_back(weights[p]);
    }
  return all;
}

namespace {

/// Ranges by looking at the values of every group.
Result<void> observe(const MethodInput& input, const RangeGroups& spec, const Observer& observer,
                     const ObserverContext& context, std::vector<float>& lo,
                     std::vector<float>& hi) {
  const FloatView& w = input.weight;
  if (spec.per_tensor) {
    TRY_ASSIGN(const AllValues all, all_values(input));
    const Range range = observer.range({all.values, all.counts, all.weights}, context);
    lo[0] = range.lo;
    hi[0] = range.hi;
    return {};
  }
  const std::int64_t across = (w.cols + spec.group - 1) / spec.group;
  const bool finished = parallel_for(
      (w.rows + spec.group_rows - 1) / spec.group_rows, 1,
      [&](std::int64_t begin, std::int64_t end) {
        std::vector<float> values;
        std::vector<double> weights;
        for (std::int64_t r = begin; r < end; ++r)
          for (std::int64_t g = 0; g < across; ++g) {
            const std::int64_t first = g * spec.group, count = std::min(spec.group, w.cols - first);
            values.clear();
            weights.clear();
            for (std::int64_t row = r * spec.group_rows;
                 row < std::min(w.rows, (r + 1) * spec.group_rows); ++row) {
              values.resize(values.size() + std::size_t(count));
              active_cpu_kernels().to_f32(int(w.type),
                                          w.row(row) + first * std::int64_t(float_size(w.type)),
                                          count, &*(values.end() - count));
              if (!input.importance.empty())
                weights.insert(weights.end(), input.importance.begin() + first,
                               input.importance.begin() + first + count);
            }
            const Range range = observer.range({values, {}, weights}, context);
            lo[std::size_t(r * across + g)] = range.lo;
            hi[std::size_t(r * across + g)] = range.hi;
          }
      },
      &input.feedback);
  return finished ? Result<void>() : Result<void>(cancelled_error());
}

} // namespace

Result<void> find_ranges(const MethodInput& input, const RangeGroups& spec,
                         const ObserverContext& context, std::vector<float>& lo,
                         std::vector<float>& hi) {
  const Observer* observer = find_observer(input.observer);
  if (!observer)
    return Error{"bad-argument", "Unknown observer \"" + input.observer + "\"", {}};
  const FloatView& w = input.weight;
  IntSpec by_row;
  by_row.group = spec.group;
  by_row.per_tensor = spec.per_tensor;
  TRY(exact_ranges(input, by_row, lo, hi));
  if (!spec.per_tensor && spec.group_rows > 1) { // rows that share a scale
    const std::int64_t across = (w.cols + spec.group - 1) / spec.group;
    const std::int64_t down = (w.rows + spec.group_rows - 1) / spec.group_rows;
    for (std::int64_t row = 0; row < w.rows; ++row)
      for (std::int64_t g = 0; g < across; ++g) {
        const auto from = std::size_t(row * across + g);
        const auto to = std::size_t(row / spec.group_rows * across + g);
        const bool first = row % spec.group_rows == 0;
        lo[to] = first ? lo[from] : std::min(lo[to], lo[from]);
        hi[to] = first ? hi[from] : std::max(hi[to], hi[from]);
      }
    lo.resize(std::size_t(down * across));
    hi.resize(lo.size());
  }
  if (observer->range)
    TRY(observe(input, spec, *observer, context, lo, hi));
  return {};
}

} // namespace bitlathe
