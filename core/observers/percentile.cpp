// SPDX-License-Identifier: Apache-2.0
// The 0.1 % farthest values at each end are clipped (both ends by magnitude when symmetric). Groups
// of fewer than 1000 values keep all of them, as the order statistic then is the extreme one.
#include "core/observers/observer.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace bitlathe {

namespace {

constexpr double kept = 0.999;

Range range(std::span<const float> values, const ObserverContext& context) {
  std::vector<float> sorted(values.begin(), values.end());
  const auto last = double(sorted.size() - 1);
  if (context.symmetric) {
    for (float& value : sorted)
      value = std::fabs(value);
    const auto at = sorted.begin() + std::ptrdiff_t(std::ceil(kept * last));
    std::nth_element(sorted.begin(), at, sorted.end());
    return {-*at, *at};
  }
  const auto low = sorted.begin() + std::ptrdiff_t(std::floor((1 - kept) * last));
  std::nth_element(sorted.begin(), low, sorted.end());
  const float lo = *low;
  const auto high = sorted.begin() + std::ptrdiff_t(std::ceil(kept * last));
  std::nth_element(sorted.begin(), high, sorted.end());
  return {lo, *high};
}

} // namespace

extern const Observer observer_percentile;
const Observer observer_percentile{"percentile", "Clips the 0.1 % of values that lie farthest out.",
                                   range};

} // namespace bitlathe
