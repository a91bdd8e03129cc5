// SPDX-License-Identifier: Apache-2.0
// AdaRound's soft rounding (Nagel et al. 2020): every weight goes to the code below or above it,
// and h(V) = clip(1.2 sigmoid(V) - 0.1, 0, 1) stands between the two. Adam lowers the error of what
// is put out plus a term 1 - |2h - 1|^beta that drives h to 0 or 1 as beta falls. Both parts of the
// loss are shares: of the error at the start, and of all weights.
#pragma once

#include "core/methods/learned_loss.h"

namespace bitlathe {

struct SoftSettings {
  std::int64_t iterations = 500;
  double lr = 0.05;
  double strength = 100; ///< of the deciding term
  double warmup = 0.2;   ///< share of the steps before that term sets in
};

/// Learns all `linears` against one loss and leaves their decided values. `start` is the loss at
/// the start, above 0; `what` is for the status line.
Result<void> learn_soft_rounding(std::span<LearnedLinear> linears, OutputLoss& loss,
                                 const SoftSettings& settings, double start,
                                 const std::string& what, Feedback& feedback);

} // namespace bitlathe
