// SPDX-License-Identifier: Apache-2.0
#include "core/judge/binomial.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace bitlathe {

namespace {

constexpr double tail = 0.025; // of an interval at 95 %, on each side

/// log of n over k.
double log_choose(std::int64_t n, std::int64_t k) {
  return std::lgamma(double(n) + 1) - std::lgamma(double(k) + 1) - std::lgamma(double(n - k) + 1);
}

/// The place in [0, 1] where a rising function of the probability reaches `value`.
template <class F> double where_reached(double value, const F& rising) {
  double low = 0, high = 1;
  for (int step = 0; step < 200 && high - low > 1e-15; ++step) {
    const double middle = (low + high) / 2;
    (rising(middle) < value ? low : high) = middle;
  }
  return (low + high) / 2;
}

} // namespace

double binomial_at_least(std::int64_t k, std::int64_t n, double p) {
  if (k <= 0)
    return 1;
  if (k > n || !(p > 0))
    return 0;
  if (p >= 1)
    return 1;
  // The shorter tail is summed, smallest terms first, so that neither side loses its digits.
  const bool upper = double(k) > double(n) * p;
  const double log_p = std::log(p), log_q = std::log1p(-p);
  const auto term = [&](std::int64_t i) {
    return std::exp(log_choose(n, i) + double(i) * log_p + double(n - i) * log_q);
  };
  double sum = 0;
  if (upper) {
    for (std::int64_t i = n; i >= k; --i)
      sum += term(i);
    return std::min(1.0, sum);
  }
  for (std::int64_t i = 0; i < k; ++i)
    sum += term(i);
  return std::max(0.0, 1 - sum);
}

Interval exact_interval(std::int64_t right, std::int64_t n) {
  if (n <= 0)
    return {0, 1};
  Interval out{0, 1};
  if (right > 0)
    out.low = where_reached(tail, [&](double p) { return binomial_at_least(right, n, p); });
  if (right < n)
    out.high =
        where_reached(1 - tail, [&](double p) { return binomial_at_least(right + 1, n, p); });
  return out;
}

double sign_test_p(std::int64_t first, std::int64_t second) {
  const std::int64_t n = first + second;
  if (n <= 0)
    return 1;
  return std::min(1.0, 2 * binomial_at_least(std::max(first, second), n, 0.5));
}

std::int64_t votes_to_show(std::int64_t n, double level) {
  // p falls as votes get more uneven: the first that is below, by halving.
  std::int64_t low = (n + 1) / 2, high = n + 1;
  while (low < high) {
    const std::int64_t middle = (low + high) / 2;
    if (sign_test_p(middle, n - middle) < level)
      high = middle;
    else
      low = middle + 1;
  }
  return low > n || n <= 0 ? 0 : low;
}

double detectable_share(std::int64_t n, double level, double power) {
  const std::int64_t needed = votes_to_show(n, level);
  if (needed == 0)
    return std::numeric_limits<double>::quiet_NaN();
  return where_reached(power, [&](double p) { return binomial_at_least(needed, n, p); });
}

std::vector<double> holm_adjusted(const std::vector<double>& p) {
  std::vector<std::size_t> order(p.size());
  std::iota(order.begin(), order.end(), std::size_t(0));
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return p[a] < p[b]; });
  std::vector<double> out(p.size());
  double largest = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    largest = std::max(largest, std::min(1.0, p[order[i]] * double(order.size() - i)));
    out[order[i]] = largest;
  }
  return out;
}

} // namespace bitlathe
