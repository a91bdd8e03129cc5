// SPDX-License-Identifier: Apache-2.0
// Two calibration sets side by side: how far the inputs of the same linear differ between them.
#pragma once

#include "core/calib/statistics.h"

namespace bitlathe {

struct ActivationDifference {
  double absmax[2] = {0, 0}, mean_square[2] = {0, 0};
  /// Per channel: the second set's absmax over the first's. Channels that are zero in both count
  /// as 1, in one as infinite or 0.
  double ratio_median = 1, ratio_min = 1, ratio_max = 1;
  std::int64_t ratio_min_channel = 0, ratio_max_channel = 0;
  std::int64_t channels = 0, channels_over_twice = 0; ///< absmax differs by more than a factor 2
  /// Share of the values that lie in other bins of a histogram (64 over both ranges): 0 to 1.
  double histogram_distance = 0;
  /// How far values must move to turn one distribution into the other, in standard deviations of
  /// the first.
  double transport_distance = 0;
  double rank_correlation = 1; ///< Spearman's, of the channels' mean squares; NaN: all are equal
};
Result<ActivationDifference> compare_activations(const ActivationModule& first,
                                                 const ActivationModule& second);

/// The histograms of both on the same edges, `bins` over both ranges, as shares of their values.
struct CommonHistogram {
  std::vector<double> edges;
  std::vector<double> shares[2];
};
CommonHistogram common_histogram(const ActivationModule& first, const ActivationModule& second,
                                 std::size_t bins);

} // namespace bitlathe
