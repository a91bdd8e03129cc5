// SPDX-License-Identifier: Apache-2.0
// The original's logits at the scored positions, once per window, and what others lose against
// them. Internal to core/eval.
#pragma once

#include "core/eval/attribute.h"
#include "core/eval/attribute_base.h"

namespace bitlathe {

struct TokenScores {
  std::vector<double> kld, nll_difference; ///< in the order of `compare`
  AttributionFigures figures() const;
};

class OriginalLogits {
 public:
  /// `rows`: leading entries of the logits that are compared. `memory`: bytes that may be kept;
  /// the others are made again from what the last block left.
  static Result<OriginalLogits> create(SwapBase& original, const ScoredText& text,
                                       std::int64_t rows, std::uint64_t memory,
                                       const Feedback& feedback);

  /// Adds what a model with these logits [per_window][vocab] loses in a window. Error "bad-file"
  /// for NaN and infinities.
  Result<void> score(std::int64_t window, std::span<const float> logits, std::int64_t vocab,
                     TokenScores& out, const Feedback& feedback);
  /// The logits of a window, [per_window][vocab], and the norm of each position.
  Result<std::span<const float>> logits(std::int64_t window, const Feedback& feedback);
  std::span<const double> norms(std::int64_t window) const;

  double perplexity() const { return perplexity_; }
  std::uint64_t bytes() const { return kept_.size() * sizeof(float); }

 private:
  OriginalLogits(SwapBase& original, const ScoredText& text, std::int64_t rows)
      : original_(&original), text_(&text), rows_(rows) {}

  SwapBase* original_;
  const ScoredText* text_;
  std::int64_t rows_;
  std::int64_t kept_windows_ = 0;
  std::vector<float> kept_, again_;
  std::int64_t again_window_ = -1;
  std::vector<double> norms_, shared_norms_, nll_; ///< [windows][per_window]
  double perplexity_ = 0;
};

} // namespace bitlathe
