// SPDX-License-Identifier: GPL-3.0-or-later
// The weight of one module on every side (original, stored, second), counted on the same range.
#pragma once

#include "app/gui/inspect/tensor_lookup.h"

#include <array>
#include <optional>

namespace bitlathe::gui {

inline constexpr int weight_bins = 320;

struct WeightCounts {
  struct Side {
    std::shared_ptr<const Checkpoint> keep_open;
    const Module* module = nullptr;             ///< nullptr: this side has none
    std::shared_ptr<const WeightValues> values; ///< what an earlier pass left, if any
  };
  std::array<Side, 3> sides; ///< by TensorLookup::Side
  std::array<std::optional<Histogram>, 3> histograms;
  std::vector<float> codes; ///< of the stored group that was asked for
  float lo = 0, hi = 0;     ///< of all sides together
};

/// Fills in what is missing. Without a range, the one of all sides together.
Result<WeightCounts> count_weights(WeightCounts counts,
                                   std::optional<std::pair<float, float>> range, int code_row,
                                   int code_group, Feedback& feedback, Compute& compute);

} // namespace bitlathe::gui
