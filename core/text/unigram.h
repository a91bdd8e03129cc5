// SPDX-License-Identifier: Apache-2.0
// The most likely way to cut a text into tokens (Viterbi), as SentencePiece does it and the Hugging
// Face library after it.
#pragma once

#include "core/text/trie.h"

#include <functional>
#include <string_view>
#include <vector>

namespace bitlathe::text {

template <class Score> class Unigram {
 public:
  ByteTrie trie; ///< values are ids
  std::vector<Score> scores;
  Score unknown_score = 0;
  std::int32_t unknown_id = -1; ///< its text counts as unknown too
  /// User-defined tokens get a score that grows with their length instead; empty: none.
  std::vector<bool> always;
  Score always_score = 0;

  /// Calls f(part, id) from the first part of `text` (valid UTF-8) to the last; id -1: unknown.
  /// `fuse` makes one part of neighbouring unknown ones.
  void cut(std::string_view text, bool fuse,
           const std::function<void(std::string_view, std::int32_t)>& f) const;
};

extern template class Unigram<float>;
extern template class Unigram<double>;

} // namespace bitlathe::text
