// SPDX-License-Identifier: Apache-2.0
// The range whose grid gives the least squared error, among the full range shrunk in 40 steps down
// to 0.4 of it.
#include "core/observers/observer.h"
#include "kernels/quant/int_grid.h"

#include <algorithm>

namespace bitlathe {

namespace {

Range range(std::span<const float> values, const ObserverContext& context) {
  const auto [lo, hi] = std::minmax_element(values.begin(), values.end());
  Range best{*lo, *hi};
  double least = -1;
  for (int step = 0; step <= 40; ++step) {
    const float shrink = 1.0f - 0.6f * float(step) / 40.0f;
    const Range tried{*lo * shrink, *hi * shrink};
    const IntGrid grid =
        make_int_grid(tried.lo, tried.hi, context.bits, context.symmetric, FloatType::f32);
    double error = 0;
    for (const float value : values) {
      const double d =
          double(value) - double(decode_int(encode_int(value, grid, context.bits), grid));
      error += d * d;
    }
    if (least < 0 || error < least) {
      least = error;
      best = tried;
    }
  }
  return best;
}

} // namespace

extern const Observer observer_mse;
const Observer observer_mse{"mse", "The clipped range whose grid gives the least squared error.",
                            range};

} // namespace bitlathe
