// SPDX-License-Identifier: Apache-2.0
// The 0.1 % farthest values at each end are clipped (both ends by magnitude when symmetric). Groups
// of fewer than 1000 values keep all of them, as the order statistic then is the extreme one.
#include "core/observers/observer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace bitlathe {

namespace {

constexpr double kept = 0.999;

/// The value at place `position` (from 0) of the sorted values, each taken as often as it occurs.
float order_statistic(std::vector<float>& values, std::span<const double> counts, double position) {
  if (counts.empty()) {
    const auto at = values.begin() + std::ptrdiff_t(position);
    std::nth_element(values.begin(), at, values.end());
    return *at;
  }
  std::vector<std::uint32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(),
            [&](std::uint32_t a, std::uint32_t b) { return values[a] < values[b]; });
  double before = 0;
  for (const std::uint32_t i : order) {
    before += counts[i];
    if (before > position)
      return values[i];
  }
  return values[order.back()];
}

Range range(const Observed& observed, const ObserverContext& context) {
  std::vector<float> values(observed.values.begin(), observed.values.end());
  const auto& counts = observed.counts;
  const double total =
      counts.empty() ? double(values.size()) : std::accumulate(counts.begin(), counts.end(), 0.0);
  const double last = std::max(0.0, total - 1);
  if (context.symmetric) {
    for (float& value : values)
      value = std::fabs(value);
    const float at = order_statistic(values, counts, std::ceil(kept * last));
    return {-at, at};
  }
  const float lo = order_statistic(values, counts, std::floor((1 - kept) * last));
  return {lo, order_statistic(values, counts, std::ceil(kept * last))};
}

} // namespace

extern const Observer observer_percentile;
const Observer observer_percentile{"percentile", "Clips the 0.1 % of values that lie farthest out.",
                                   range};

} // namespace bitlathe
