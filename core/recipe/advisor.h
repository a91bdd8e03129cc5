// SPDX-License-Identifier: Apache-2.0
// The advisor: from what matters most to somebody to a recipe and a format, with a sentence for
// every decision and for what was turned down. It tries what it would propose: every candidate is
// planned and examined by the format's doctor, and its size is that of the export to the byte.
#pragma once

#include "core/model/checkpoint.h"
#include "core/recipe/plan.h"

#include <span>
#include <string>
#include <vector>

namespace bitlathe {

/// What matters most.
struct AdviceGoal {
  std::string_view id, title, summary;
};
/// "quick", "smallest", "quality", "portable".
std::span<const AdviceGoal> advice_goals();

/// What a module costs when it is quantized, as measured by swapping it alone into the original.
struct ModuleCost {
  std::string module;
  double cost = 0; ///< KL divergence
};
/// Of the session's key "attribution"; empty when there is nothing of use in it.
std::vector<ModuleCost> module_costs(const Json& attribution);

struct AdviceWish {
  std::string goal = "quick";
  std::uint64_t budget = 0; ///< bytes that the export may take; 0: as it comes
  std::string runtime;      ///< what it is to run on, as in Finding::runtime; empty: any
  bool calibrate = true;    ///< text may be run through the model
  std::vector<CalibrationFile> calibration; ///< what is read then; empty: left open
  std::uint64_t memory = 0;                 ///< of this machine, for calibration; 0: not known
  std::vector<ModuleCost> costs;
};

struct AdviceDecision {
  std::string topic;  ///< "scheme", "method", "exclusions", "calibration", "activations", "format"
  std::string choice; ///< "int4-g128-asym"
  std::string reason; ///< a sentence
};
struct AdviceRejected {
  std::string what;        ///< "int8-channel-sym by rtn as compressed-tensors"
  std::string why;         ///< a sentence
  std::uint64_t bytes = 0; ///< 0: not known
};

struct Advice {
  Recipe recipe;
  std::string title;  ///< "int4-g128-asym by gptq as compressed-tensors"
  std::string format; ///< of the exporter
  std::vector<AdviceDecision> decisions;
  std::vector<AdviceRejected> rejected;
  bool fits = true;               ///< into the budget
  std::string problem;            ///< why nothing fits, and what is nearest; empty when it fits
  std::uint64_t bytes = 0;        ///< of the export
  std::uint64_t bytes_before = 0; ///< of the checkpoint's weights
  double bits_per_weight = 0;
  std::vector<std::string> notes; ///< of the plan and the doctor, and what could not be known
};

/// Errors: "bad-argument" for an unknown goal or runtime, "unsupported" for a checkpoint that is
/// quantized already or that no format of the runtime takes.
Result<Advice> advise(const Checkpoint& checkpoint, const AdviceWish& wish);
OrderedJson advice_to_json(const Advice& advice);

} // namespace bitlathe
