// SPDX-License-Identifier: Apache-2.0
#include "core/calib/compare.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace bitlathe {

namespace {

/// The share of values below x, taking the values of a bin as spread evenly.
class Distribution {
 public:
  explicit Distribution(const ActivationModule& module)
      : lo_(module.histogram_lo), hi_(module.histogram_hi), below_(1, 0.0) {
    std::uint64_t sum = 0;
    for (const std::uint64_t count : module.histogram)
      below_.push_back(double(sum += count));
    for (double& value : below_)
      value /= sum > 0 ? double(sum) : 1.0;
  }
  double below(double x) const {
    const auto bins = double(below_.size() - 1);
    const double at = (x - lo_) / (hi_ - lo_) * bins;
    if (!(at > 0))
      return 0;
    if (at >= bins)
      return below_.back();
    const auto bin = std::size_t(at);
    return below_[bin] + (at - double(bin)) * (below_[bin + 1] - below_[bin]);
  }

 private:
  double lo_, hi_;
  std::vector<double> below_;
};

/// Ranks from 1; equal values share the mean of theirs.
std::vector<double> ranks(const std::vector<float>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t(0));
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> out(values.size());
  for (std::size_t begin = 0, end; begin < order.size(); begin = end) {
    for (end = begin + 1; end < order.size() && values[order[end]] == values[order[begin]];)
      ++end;
    for (std::size_t i = begin; i < end; ++i)
      out[order[i]] = double(begin + end + 1) / 2;
  }
  return out;
}

double correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const double n = double(a.size());
  const double mean_a = std::accumulate(a.begin(), a.end(), 0.0) / n;
  const double mean_b = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : double(NAN);
}

double mean_square(const ActivationModule& module) {
  const double sum = std::accumulate(module.channel_sum2.begin(), module.channel_sum2.end(), 0.0);
  return module.tokens > 0 ? sum / double(module.tokens) / double(module.channel_sum2.size()) : 0;
}

} // namespace

CommonHistogram common_histogram(const ActivationModule& first, const ActivationModule& second,
                                 std::size_t bins) {
  CommonHistogram out;
  const double lo = std::min(double(first.moments.min), double(second.moments.min));
  double hi = std::max(double(first.moments.max), double(second.moments.max));
  if (!(hi > lo))
    hi = lo + std::max(1e-6, std::abs(lo) * 1e-3);
  for (std::size_t i = 0; i <= bins; ++i)
    out.edges.push_back(lo + (hi - lo) * double(i) / double(bins));
  const ActivationModule* modules[2] = {&first, &second};
  for (int side = 0; side < 2; ++side) {
    const Distribution distribution(*modules[side]);
    for (std::size_t i = 0; i < bins; ++i) {
      const double from = i == 0 ? 0 : distribution.below(out.edges[i]);
      const double to = i + 1 == bins ? 1 : distribution.below(out.edges[i + 1]);
      out.shares[side].push_back(to - from);
    }
  }
  return out;
}

Result<ActivationDifference> compare_activations(const ActivationModule& first,
                                                 const ActivationModule& second) {
  const std::size_t n = first.channel_sum2.size();
  if (n == 0 || second.channel_sum2.size() != n)
    return Error{"mismatch", "The two sets of statistics have different channels", first.name};
  if (first.channel_min.size() != n || second.channel_min.size() != n || first.histogram.empty() ||
      second.histogram.empty())
    return Error{"unsupported", "Importance matrices hold no ranges to compare", first.name};
  ActivationDifference out;
  out.channels = std::int64_t(n);
  out.absmax[0] = double(first.moments.absmax);
  out.absmax[1] = double(second.moments.absmax);
  out.mean_square[0] = mean_square(first);
  out.mean_square[1] = mean_square(second);
  const auto a = first.channel_absmax(), b = second.channel_absmax();
  std::vector<double> ratios(n);
  for (std::size_t c = 0; c < n; ++c) {
    ratios[c] = a[c] == b[c] ? 1 : double(b[c]) / double(a[c]);
    out.channels_over_twice += ratios[c] > 2 || ratios[c] < 0.5;
  }
  const auto [least, most] = std::minmax_element(ratios.begin(), ratios.end());
  out.ratio_min = *least;
  out.ratio_max = *most;
  out.ratio_min_channel = least - ratios.begin();
  out.ratio_max_channel = most - ratios.begin();
  std::nth_element(ratios.begin(), ratios.begin() + std::ptrdiff_t(n / 2), ratios.end());
  out.ratio_median = ratios[n / 2];
  out.rank_correlation = correlation(ranks(first.importance()), ranks(second.importance()));

  const CommonHistogram coarse = common_histogram(first, second, 64);
  for (std::size_t i = 0; i < 64; ++i)
    out.histogram_distance += std::abs(coarse.shares[0][i] - coarse.shares[1][i]) / 2;
  const CommonHistogram fine = common_histogram(first, second, 2048);
  double gap = 0, work = 0; // the area between the two running sums
  for (std::size_t i = 0; i < 2048; ++i) {
    gap += fine.shares[0][i] - fine.shares[1][i];
    work += std::abs(gap) * (fine.edges[i + 1] - fine.edges[i]);
  }
  const double deviation = first.moments.stddev();
  out.transport_distance = deviation > 0 ? work / deviation : work > 0 ? double(INFINITY) : 0;
  return out;
}

} // namespace bitlathe
