// SPDX-License-Identifier: GPL-3.0-or-later
// A first picture of a large tensor from some of its rows, until the exact one is there.
#pragma once

#include "core/eval/weight_stats.h"

namespace bitlathe::gui {

/// Tensors above this many values get a coarse picture first.
constexpr std::int64_t coarse_from = std::int64_t(8) << 20;

/// Counts about `values` values from evenly spread runs of rows, decoded when packed; the range is
/// theirs.
Result<Histogram> coarse_histogram(const Module& module, int bins, std::int64_t values,
                                   Compute& compute, Feedback& feedback);

} // namespace bitlathe::gui
