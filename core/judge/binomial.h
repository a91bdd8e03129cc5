// SPDX-License-Identifier: Apache-2.0
// Exact statistics of votes between two sides: what a share is worth, whether it could be chance,
// and what a number of votes could have shown at all.
#pragma once

#include "core/eval/task_statistics.h"

#include <cstdint>
#include <vector>

namespace bitlathe {

/// P(X >= k) of n throws that each succeed with probability p.
double binomial_at_least(std::int64_t k, std::int64_t n, double p);

/// Clopper and Pearson's exact interval of a share at 95 %. [0, 1] when n is 0.
Interval exact_interval(std::int64_t right, std::int64_t n);

/// The exact sign test, two-sided: how likely votes at least as uneven are when both sides are as
/// good. Ties are not votes here. 1 when there are none.
double sign_test_p(std::int64_t first, std::int64_t second);

/// The fewest of n votes for one side with which the sign test gets below `level`; 0 when even all
/// of them would not.
std::int64_t votes_to_show(std::int64_t n, double level = 0.05);

/// The true share of votes for one side, at least a half, that n votes show with probability
/// `power` (the sign test gets below `level`, for that side). NaN when no outcome of n votes could
/// show anything.
double detectable_share(std::int64_t n, double level = 0.05, double power = 0.8);

/// Holm's adjustment of several p-values: each may be held against the level as if it were alone.
std::vector<double> holm_adjusted(const std::vector<double>& p);

} // namespace bitlathe
