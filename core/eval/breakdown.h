// SPDX-License-Identifier: Apache-2.0
// Where a candidate is far from its reference: by place in the window, by kind of token, and token
// by token. Internal to core/eval.
#pragma once

#include "core/eval/windows.h"

namespace bitlathe {

/// What two models say at one position.
struct Score {
  double nll = 0, kld = 0, reverse_kld = 0; ///< nll of the candidate
  double reference_nll = 0;
  int shared_top5 = 0;
  std::int32_t reference_top = 0, candidate_top = 0;
};

/// Kind of a token by its text: "word start" (after a space), "inside a word", "number",
/// "punctuation", "white space", "special" (control tokens, and bytes of no text).
std::string_view token_class(const Tokenizer& tokenizer, std::int32_t id);

class Breakdown {
 public:
  static constexpr std::size_t parts = 8, most_worst = 50;

  Breakdown() = default;
  /// `tokenizer` may be null: then there are no classes.
  Breakdown(const Tokenizer* tokenizer, std::int64_t context);
  /// `position` is that of the token, at least 1.
  void add(std::int64_t window, std::int64_t position, std::int32_t token, const Score& score);
  std::vector<PartFigures> by_position() const;
  std::vector<PartFigures> by_class() const;
  std::vector<WorstToken> worst() const;

 private:
  struct Part {
    RunningMean kld, difference;
  };
  static PartFigures figures(std::string name, const Part& part);

  const Tokenizer* tokenizer_ = nullptr;
  std::int64_t first_ = 0, count_ = 0; ///< scored positions of a window
  std::vector<Part> positions_;
  std::map<std::string_view, Part> classes_;
  std::vector<WorstToken> worst_; ///< a heap, the least of them in front
};

} // namespace bitlathe
