// SPDX-License-Identifier: Apache-2.0
// The threshold whose quantized histogram diverges least (Kullback-Leibler) from the original one,
// after S. Migacz, "8-bit inference with TensorRT" (GTC 2017): magnitudes in 2048 bins, values
// beyond the threshold folded into the last bin, the rest merged into 2^(bits-1) levels spread over
// their non-empty bins.
#include "core/observers/observer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
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

Range range(const Observed& observed, const ObserverContext& context) {
  const auto& [values, occurrences, weights] = observed;
  const auto [lo, hi] = std::minmax_element(values.begin(), values.end());
  const float absmax = std::max(std::fabs(*lo), std::fabs(*hi));
  // Values of one sign have all codes of an asymmetric grid to themselves.
  const bool one_sided = !context.symmetric && (*lo >= 0 || *hi <= 0);
  const int levels = 1 << (one_sided ? context.bits : context.bits - 1);
  const double total = occurrences.empty()
                           ? double(values.size())
                           : std::accumulate(occurrences.begin(), occurrences.end(), 0.0);
  if (absmax == 0 || total < double(bins))
    return {*lo, *hi}; // too few values for a histogram that means anything
  std::vector<double> counts(bins, 0.0);
  for (std::size_t i = 0; i < values.size(); ++i)
    counts[std::size_t(std::min(bins - 1, int(std::fabs(values[i]) / absmax * bins)))] +=
        occurrences.empty() ? 1 : occurrences[i];
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
