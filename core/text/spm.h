// SPDX-License-Identifier: Apache-2.0
// SentencePiece's byte-pair encoding: neighbours that together are a token merge, the best score
// first. Used for tokenizer.model files and for GGUF's "llama" tokenizers.
#pragma once

#include "core/text/trie.h"
#include "core/text/vocabulary.h"

#include <unordered_set>
#include <vector>

namespace bitlathe::text {

class SpmBpe {
 public:
  Vocabulary vocabulary;        ///< what pieces may merge into
  std::vector<float> scores;    ///< by id
  std::int32_t unknown_id = -1; ///< for a run of characters that no token spells
  ByteTrie always;              ///< tokens that are cut out of the text before merging
  std::vector<bool> unused;     ///< by id: undone again after merging; empty: none

  /// To be called once, when all of the above is set.
  void prepare();
  /// Appends the ids of `text` (valid UTF-8, spaces already replaced).
  void encode(std::string_view text, std::vector<std::int32_t>& out) const;

 private:
  struct Symbol {
    std::size_t begin, size; ///< size 0: merged into its left neighbour
    std::int32_t previous, next;
  };
  struct Work;
  void merge(std::string_view text, Work& work) const;
  void emit(std::string_view part, Work& work) const;

  std::size_t longest_token_ = 0;
  std::int32_t byte_ids_[256];
  std::unordered_set<std::uint64_t> joints_; ///< characters side by side in some token
};

} // namespace bitlathe::text
