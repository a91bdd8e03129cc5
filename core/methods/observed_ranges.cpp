// SPDX-License-Identifier: Apache-2.0
#include "core/methods/observed_ranges.h"

#include "kernels/base/parallel.h"
#include "kernels/values.h"

#include <algorithm>

namespace bitlathe {

namespace {

/// Every value of a matrix, those of 16-bit types as the patterns that occur.
struct AllValues {
  std::vector<float> values;
  std::vector<double> counts, weights;
};

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

} // namespace

Result<void> observed_ranges(const MethodInput& input, const IntSpec& spec,
                             const Observer& observer, std::span<float> lo, std::span<float> hi) {
  const FloatView& w = input.weight;
  const ObserverContext context{spec.bits, spec.symmetric, spec.scale_type};
  if (spec.per_tensor) {
    TRY_ASSIGN(const AllValues all, all_values(input));
    const Range range = observer.range({all.values, all.counts, all.weights}, context);
    lo[0] = range.lo;
    hi[0] = range.hi;
    return {};
  }
  const auto groups = (w.cols + spec.group - 1) / spec.group;
  const std::vector<double> weights(input.importance.begin(), input.importance.end());
  const bool finished = parallel_for(
      w.rows, 1,
      [&](std::int64_t begin, std::int64_t end) {
        std::vector<float> values(std::size_t(w.cols));
        for (std::int64_t row = begin; row < end; ++row) {
          for (std::int64_t col = 0; col < w.cols; ++col)
            values[std::size_t(col)] = load_float(w.type, w.row(row), col);
          for (std::int64_t g = 0; g < groups; ++g) {
            const auto first = std::size_t(g * spec.group);
            const auto count = std::min(std::size_t(spec.group), values.size() - first);
            Observed group{std::span(values).subspan(first, count)};
            if (!weights.empty())
              group.weights = std::span(weights).subspan(first, count);
            const Range range = observer.range(group, context);
            lo[std::size_t(row * groups + g)] = range.lo;
            hi[std::size_t(row * groups + g)] = range.hi;
          }
        }
      },
      &input.feedback);
  return finished ? Result<void>() : Result<void>(cancelled_error());
}

} // namespace bitlathe
