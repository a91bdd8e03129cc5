// SPDX-License-Identifier: Apache-2.0
// What perplexity and comparison share: windows of text, logits of their scored positions, means.
// Internal to core/eval.
#pragma once

#include "core/eval/eval.h"

namespace bitlathe {

/// Mean and standard error of a growing list, with the sums kept in f64.
struct RunningMean {
  double sum = 0, sum2 = 0;
  std::int64_t count = 0;
  void add(double x) {
    sum += x;
    sum2 += x * x;
    ++count;
  }
  double mean() const { return count ? sum / double(count) : 0; }
  double standard_error() const;
};

/// Positions whose logits are held at the same time: a whole window's, or part of them where the
/// vocabulary is so large that they would not fit a budget. Logits at `first + i` score
/// ids[first + i + 1].
struct Piece {
  std::int64_t begin = 0; ///< first id to feed
  std::int64_t first = 0; ///< first position with wanted logits
  std::int64_t count = 0;
};

/// The windows of a text, cut by the rule in eval.h.
class Windows {
 public:
  /// Error "bad-argument" when the text is too short. BOS is that of the checkpoint's tokenizer.
  static Result<Windows> cut(const Checkpoint& checkpoint, const EvalText& text);

  /// Error "bad-argument" for an id that a model with `vocab` logits cannot score.
  Result<void> check_ids(std::int64_t vocab) const;

  std::int64_t count() const { return count_; }
  std::vector<std::int32_t> ids(std::int64_t window) const;
  /// The scored positions of a window, in pieces for a vocabulary of this size.
  std::vector<Piece> pieces(std::int64_t vocab) const;

 private:
  explicit Windows(const EvalText& text) : text_(text) {}
  const EvalText& text_;
  std::int64_t count_ = 0;
  std::int32_t bos_ = -1;
};

/// Feeds a piece and leaves its logits in out[count][vocab].
Result<void> logits_of(Engine& engine, Sequence& sequence, std::span<const std::int32_t> ids,
                       const Piece& piece, std::vector<float>& out, const Feedback& feedback);

/// log of the sum of exp, f64. NaN when any entry is NaN or +infinity.
double log_sum_exp(std::span<const float> logits);

std::vector<std::string> context_notes(const Engine& engine, std::int64_t context);
/// Of a model that gave NaN or infinities; window and position count from 0.
Error bad_logits(const Engine& engine, std::int64_t window, std::int64_t position);
double seconds_now(); ///< on a steady clock

} // namespace bitlathe
