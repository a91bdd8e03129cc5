// SPDX-License-Identifier: Apache-2.0
// How sure a figure over items is, and a difference between two runs over the same items.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace bitlathe {

struct Interval {
  double low = 0, high = 0;
};
/// Wilson's interval of a share at 95 %.
Interval wilson_interval(std::int64_t right, std::int64_t n);
/// McNemar's exact test, two-sided: two runs over the same items that are right or wrong.
double mcnemar_p(const std::vector<bool>& a, const std::vector<bool>& b);

/// A figure of items drawn with repetition: indices into them.
using FigureOf = std::function<double(const std::vector<std::size_t>& items)>;
/// Percentile bootstrap at 95 % over `n` items; the same on every machine.
Interval bootstrap_interval(std::size_t n, const FigureOf& figure, int resamples = 1000);

/// The difference of a figure between two runs when the items of `swapped` trade places.
using DifferenceOf = std::function<double(const std::vector<bool>& swapped)>;
/// Approximate randomization, two-sided (Noreen 1989; sacreBLEU's --paired-ar): the share of random
/// swaps that make a difference at least as large, with one added to both counts.
double randomization_p(std::size_t n, const DifferenceOf& difference, int trials = 10000);

} // namespace bitlathe
