// SPDX-License-Identifier: Apache-2.0
// What the advisor may propose: ladders of schemes per goal and format, the preferred one first.
// Internal to the advisor.
#pragma once

#include "core/recipe/advisor.h"

namespace bitlathe {

struct AdviceStep {
  std::string_view scheme;    ///< or a mix
  std::string_view method;    ///< when text may be run through the model
  std::string_view otherwise; ///< without; empty: the step needs calibration
  std::string_view why;       ///< a sentence on the scheme
  std::string_view down = {}; ///< another scheme for down projections
  std::string_view ends = {}; ///< another scheme for embeddings and head
  bool act_order = false;     ///< of GPTQ
};

/// A format's ladder; steps get smaller downwards.
struct AdviceLadder {
  std::string_view format;
  std::span<const AdviceStep> steps;
  std::size_t first = 0; ///< the step to start at when there is no budget
};

/// The ladders for a goal, in the order in which formats are tried; only those of the runtime when
/// one is named. `small`: a model of few parameters, which loses more with few bits.
std::vector<AdviceLadder> advice_ladders(std::string_view goal, std::string_view runtime,
                                         bool small);

} // namespace bitlathe
