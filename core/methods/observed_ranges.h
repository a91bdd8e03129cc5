// SPDX-License-Identifier: Apache-2.0
// Ranges of the groups of a weight by an observer.
#pragma once

#include "core/methods/method.h"
#include "core/observers/observer.h"

namespace bitlathe {

struct RangeGroups {
  std::int64_t group = 0; ///< columns
  std::int64_t group_rows = 1;
  bool per_tensor = false;
};

/// What the recipe's observer chooses for every group: [ceil(rows / group_rows)][groups], or one
/// when per tensor. With importance the squared errors it weighs count by column. NaN and
/// infinities in the weight are errors.
Result<void> find_ranges(const MethodInput& input, const RangeGroups& groups,
                         const ObserverContext& context, std::vector<float>& lo,
                         std::vector<float>& hi);

/// Every value of a matrix, those of 16-bit types as the patterns that occur; with importance what
/// each weighs in all. Finite ones only.
struct AllValues {
  std::vector<float> values;
  std::vector<double> counts, weights; ///< empty: 1 each
};
Result<AllValues> all_values(const MethodInput& input);

} // namespace bitlathe
