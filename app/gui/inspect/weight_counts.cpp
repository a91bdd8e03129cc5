// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/inspect/weight_counts.h"

#include <algorithm>

namespace bitlathe::gui {

Result<WeightCounts> count_weights(WeightCounts counted,
                                   std::optional<std::pair<float, float>> range, int code_row,
                                   int code_group, Feedback& feedback, Compute& compute) {
  bool any = false;
  for (auto& side : counted.sides) {
    if (!side.module)
      continue;
    if (!side.values) {
      TRY_ASSIGN(auto values, weight_values(*side.module, compute, feedback));
      side.values = std::make_shared<const WeightValues>(std::move(values));
    }
    const ValueRange& seen = side.values->range;
    counted.lo = any ? std::min(counted.lo, seen.min) : seen.min;
    counted.hi = any ? std::max(counted.hi, seen.max) : seen.max;
    any = true;
  }
  const auto [lo, hi] = range.value_or(std::pair(counted.lo, counted.hi));
  for (std::size_t i = 0; i < counted.sides.size(); ++i)
    if (const auto& side = counted.sides[i]; side.module) {
      TRY_ASSIGN(auto histogram, weight_histogram(*side.module, *side.values, weight_bins, compute,
                                                  feedback, lo, hi));
      counted.histograms[i] = std::move(histogram);
    }
  if (const auto& stored = counted.sides[TensorLookup::stored]; stored.module)
    counted.codes = code_values(stored.module->weight, code_row, code_group);
  return counted;
}

} // namespace bitlathe::gui
