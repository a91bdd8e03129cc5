// SPDX-License-Identifier: Apache-2.0
// The range whose grid gives the least squared error (weighted by activation importance when
// calibrated), among the full range shrunk in 40 steps down to 0.4 of it. Ties go to the larger
// range.
#include "core/observers/observer.h"

#include <algorithm>

namespace bitlathe {

namespace {

Range range(const Observed& observed, const ObserverContext& context) {
  const auto [lo, hi] = std::minmax_element(observed.values.begin(), observed.values.end());
  Range best{*lo, *hi};
  double least = -1;
  for (int step = 0; step <= 40; ++step) {
    const float shrink = 1.0f - 0.6f * float(step) / 40.0f;
    const Range tried{*lo * shrink, *hi * shrink};
    const double error = coding_error(observed, tried, context);
    if (least < 0 || error < least) {
      least = error;
      best = tried;
    }
  }
  return best;
}

} // namespace

extern const Observer observer_mse;
const Observer observer_mse{
    "mse", "The clipped range whose grid gives the least squared error; calibrated: of the output.",
    range};

} // namespace bitlathe
