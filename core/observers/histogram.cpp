// SPDX-License-Identifier: Apache-2.0
#include "core/observers/histogram.h"

#include <algorithm>

namespace bitlathe {

namespace {

/// A bin stands for this many values, spread evenly: enough that the bins of the entropy observer
/// and the codes of an 8-bit grid see no comb.
constexpr int parts = 16;

struct Points {
  std::vector<float> values;
  std::vector<double> counts;
};

/// Values stay within [least, greatest].
Points spread(std::span<const std::uint64_t> counts, double lo, double hi, double least,
              double greatest) {
  Points points;
  const double width = (hi - lo) / double(counts.size());
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] == 0)
      continue;
    const double from = std::max(lo + double(i) * width, least);
    const double to = std::min(lo + double(i + 1) * width, greatest);
    for (int part = 0; part < parts; ++part) {
      const double at = from + (to - from) * (double(part) + 0.5) / parts;
      points.values.push_back(float(std::clamp(at, least, greatest)));
      points.counts.push_back(double(counts[i]) / parts);
    }
  }
  return points;
}

Range observe(const Observer& observer, std::span<const std::uint64_t> counts, double lo, double hi,
              double least, double greatest, const ObserverContext& context) {
  if (!observer.range)
    return {float(least), float(greatest)};
  const Points points = spread(counts, lo, hi, least, greatest);
  const Range range = observer.range({points.values, points.counts}, context);
  return {std::max(range.lo, -float(std::max(-least, greatest))),
          std::min(range.hi, float(std::max(-least, greatest)))};
}

} // namespace

Range observe_histogram(const Observer& observer, std::span<const std::uint64_t> counts, double lo,
                        double hi, const ObserverContext& context) {
  const auto filled = [](std::uint64_t count) { return count > 0; };
  const auto first = std::find_if(counts.begin(), counts.end(), filled);
  if (first == counts.end() || !(lo <= hi))
    return {};
  const auto last = std::find_if(counts.rbegin(), counts.rend(), filled).base();
  const double width = (hi - lo) / double(counts.size());
  return observe(observer, counts, lo, hi, lo + double(first - counts.begin()) * width,
                 lo + double(last - counts.begin()) * width, context);
}

Result<Range> observe_activations(const Observer& observer, const ActivationModule& module,
                                  const ObserverContext& context) {
  if (module.histogram.empty() || module.moments.count == 0)
    return Error{"unsupported",
                 "The statistics hold no histogram of its inputs (importance matrices have none); "
                 "calibrate with text for static activation scales",
                 module.name};
  if (observer.id == "ema" && module.average_min <= module.average_max)
    return Range{std::max(float(module.average_min), module.moments.min),
                 std::min(float(module.average_max), module.moments.max)};
  return observe(observer, module.histogram, module.histogram_lo, module.histogram_hi,
                 double(module.moments.min), double(module.moments.max), context);
}

} // namespace bitlathe
