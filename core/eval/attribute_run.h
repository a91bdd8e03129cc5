// SPDX-License-Identifier: Apache-2.0
// One attribution while it runs: what its parts share. Internal to core/eval.
#pragma once

#include "core/eval/attribute_score.h"
#include "core/eval/attribute_units.h"
#include "core/eval/fisher.h"

namespace bitlathe {

struct AttributionRun {
  const Checkpoint& reference;
  Compute& compute;
  const AttributionOptions& options;
  Feedback& feedback;
  AttributionReport report;
  ScoredText text;
  std::unique_ptr<SwapBase> original;
  std::optional<OriginalLogits> logits;
  double start = 0;

  std::uint64_t windows() const { return std::uint64_t(text.count()); }
  /// What feedback counts for one variant whose first other block this is.
  std::uint64_t work(std::int64_t first_block) const {
    return windows() * std::uint64_t(reference.spec->layers - first_block + 1);
  }
  /// Tells what is new.
  void changed();
  /// Runs the whole text with other parts in a base model.
  Result<TokenScores> measure(SwapBase& base, const Exchanged& exchanged, std::int64_t first_block,
                              const std::string& step);
  /// Whether a module is one of those asked for.
  Result<bool> wanted(const std::string& module) const;
};

/// Every module in every scheme, alone.
Result<void> run_curves(AttributionRun& run);
/// What run_curves() will do, for feedback.
Result<std::uint64_t> curve_work(AttributionRun& run);

/// Which of `count` members of a role, in the order of blocks, are measured.
std::vector<bool> spread(std::size_t count, double share);

/// A figure that may have been predicted and measured.
struct PredictedCase {
  std::string role;
  PredictedFigure* predicted = nullptr;
  const AttributionFigures* measured = nullptr;
};
/// Fits a scale per role to what was measured, puts it into the predictions, and says how far
/// predictions are from measurements that the fit did not see. Figures at or below `floor` are
/// rounding and fit nothing.
PredictionQuality fit_predictions(const std::vector<PredictedCase>& cases, double floor);

} // namespace bitlathe
