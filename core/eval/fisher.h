// SPDX-License-Identifier: Apache-2.0
// The divergence that changes of weights cause, to second order, without running the changed model.
// For a change D of the weights KL = D^T F D / 2 per token, F being the Fisher information; it is
// estimated from gradients of random directions of the logits whose covariance is that of the
// tokens the model itself would draw. One way back through the model serves all changes at once.
// Internal to core/eval.
#pragma once

#include "core/eval/attribute_score.h"

namespace bitlathe {

/// One module of a case with other values.
struct WeightChange {
  std::size_t entry = 0;               ///< which case it belongs to
  std::size_t module = 0;              ///< index in the original
  std::shared_ptr<const Module> other; ///< what it becomes
};

/// Changes of the modules of a block, or (-1) of those outside of blocks. Asked for once each.
using ChangesOfLayer = std::function<Result<std::vector<WeightChange>>(int layer)>;

/// Blocks run forward and back, as feedback counts them.
std::uint64_t fisher_work(const ScoredText& text, std::int64_t layers, std::int64_t samples);

/// For every case the mean divergence per scored token, with the standard error of the estimate;
/// `samples` directions, spread over windows. Errors: "cancelled", and as reading the weights.
Result<std::vector<PredictedFigure>> fisher_divergence(SwapBase& original, OriginalLogits& logits,
                                                       const ScoredText& text, std::size_t cases,
                                                       const ChangesOfLayer& changes,
                                                       std::int64_t samples, std::uint64_t seed,
                                                       Compute& compute, Feedback& feedback);

} // namespace bitlathe
