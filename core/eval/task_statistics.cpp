// SPDX-License-Identifier: Apache-2.0
#include "core/eval/task_statistics.h"

#include <algorithm>
#include <cmath>
#include <random>

namespace bitlathe {

namespace {

constexpr std::uint64_t seed = 12345;

} // namespace

Interval wilson_interval(std::int64_t right, std::int64_t n) {
  if (n <= 0)
    return {0, 1};
  const double z = 1.959963984540054, count = double(n), p = double(right) / count;
  const double middle = p + z * z / (2 * count), scale = 1 + z * z / count;
  const double spread = z * std::sqrt(p * (1 - p) / count + z * z / (4 * count * count));
  return {std::max(0.0, (middle - spread) / scale), std::min(1.0, (middle + spread) / scale)};
}

double mcnemar_p(const std::vector<bool>& a, const std::vector<bool>& b) {
  std::int64_t only_a = 0, only_b = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    only_a += a[i] && !b[i];
    only_b += b[i] && !a[i];
  }
  const std::int64_t n = only_a + only_b, fewer = std::min(only_a, only_b);
  double sum = 0; // of binomial(n, k) / 2^n for k up to the smaller count
  for (std::int64_t k = 0; k <= fewer; ++k)
    sum += std::exp(std::lgamma(double(n) + 1) - std::lgamma(double(k) + 1) -
                    std::lgamma(double(n - k) + 1) - double(n) * std::log(2.0));
  return std::min(1.0, 2 * sum);
}

Interval bootstrap_interval(std::size_t n, const FigureOf& figure, int resamples) {
  std::mt19937_64 random(seed);
  std::vector<double> figures;
  std::vector<std::size_t> items(n);
  for (int i = 0; i < resamples; ++i) {
    for (auto& item : items)
      item = std::size_t(random() % n);
    figures.push_back(figure(items));
  }
  std::sort(figures.begin(), figures.end());
  const auto at = [&](double share) {
    const double place = share * double(figures.size() - 1);
    const auto below = std::size_t(place);
    const double above = figures[std::min(below + 1, figures.size() - 1)];
    return figures[below] + (place - double(below)) * (above - figures[below]);
  };
  return {at(0.025), at(0.975)};
}

double randomization_p(std::size_t n, const DifferenceOf& difference, int trials) {
  std::mt19937_64 random(seed);
  std::vector<bool> swapped(n, false);
  const double seen = std::fabs(difference(swapped));
  // Sums in another order differ in the last digits; these are no differences.
  const double least = seen - 1e-9 * std::max(1.0, seen);
  std::int64_t as_large = 0;
  for (int trial = 0; trial < trials; ++trial) {
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < n; ++i) {
      if (i % 64 == 0)
        bits = random();
      swapped[i] = bits >> (i % 64) & 1;
    }
    as_large += std::fabs(difference(swapped)) >= least;
  }
  return double(as_large + 1) / double(trials + 1);
}

} // namespace bitlathe
