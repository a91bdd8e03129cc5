// SPDX-License-Identifier: Apache-2.0
// The threshold whose quantized histogram diverges least (Kullback-Leibler) from the original one,
// after S. Migacz, "8-bit inference with TensorRT" (GTC 2017): magnitudes in 2048 bins, values
// beyond the threshold folded into the last bin, the rest merged into 2^(bits-1) levels spread over
// their non-empty bins.
#include "core/observers/observer.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace bitlathe {

namespace {

constexpr int bins = 2048;

double divergence(const std::vector<double>& counts, int used, int levels) {
  std::vector<double> p(counts.begin(), counts.begin() + used);
  for (int i = used; i < bins; ++i)
    p.back() += counts[std::size_t(i)];
  double total = 0, kl = 0;
  for (const double x : p)
    total += x;
  for (int level = 0; level < levels; ++level) {
    const int first = int(std::int64_t(level) * used / levels);
    const int last = int(std::int64_t(level + 1) * used / levels);
    double mass = 0;
    int filled = 0;
    for (int i = first; i < last; ++i) {
      mass += counts[std::size_t(i)];
      filled += counts[std::size_t(i)] > 0;
    }
    for (int i = first; i < last; ++i) {
      const double x = p[std::size_t(i)] / total;
      if (x <= 0)
        continue;
      // An outlier bin that the quantized side cannot express costs as if it had one part in a
      // million.
      const double y = filled && counts[std::size_t(i)] > 0 ? mass / filled / total : 1e-6 / total;
      kl += x * std::log(x / y);
    }
  }
  return kl;
}

Range range(std::span<const float> values, const ObserverContext& context) {
  const auto [lo, hi] = std::minmax_element(values.begin(), values.end());
  const float absmax = std::max(std::fabs(*lo), std::fabs(*hi));
  const int levels = 1 << (context.bits - 1);
  if (absmax == 0 || values.size() < std::size_t(bins))
    return {*lo, *hi}; // too few values for a histogram that means anything
  std::vector<double> counts(bins, 0.0);
  for (const float value : values)
    counts[std::size_t(std::min(bins - 1, int(std::fabs(value) / absmax * bins)))] += 1;
  double least = -1;
  int best = bins;
  for (int used = std::max(levels, 128); used <= bins; used += 8) {
    const double kl = divergence(counts, used, levels);
    if (least < 0 || kl < least) {
      least = kl;
      best = used;
    }
  }
  const float threshold = absmax * float(best) / bins;
  return {std::max(*lo, -threshold), std::min(*hi, threshold)};
}

} // namespace

extern const Observer observer_entropy;
const Observer observer_entropy{
    "entropy", "The clipped range whose quantized histogram diverges least from the original.",
    range};

} // namespace bitlathe
