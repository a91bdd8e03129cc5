// SPDX-License-Identifier: Apache-2.0
// Tokens that are cut out of the text before the model sees it ("added_tokens").
#pragma once

#include "core/text/stages.h"
#include "core/text/trie.h"

#include <map>

namespace bitlathe::text {

struct AddedToken {
  std::int32_t id = -1;
  std::string content;
  bool special = false;
  bool normalized = false; ///< looked for (in normal form) after normalization, not before
  bool single_word = false, left_strip = false, right_strip = false;
};

/// Finds the leftmost longest of a set of texts.
class TextTrie {
 public:
  bool empty() const { return trie_.empty(); }
  void insert(std::string_view text, std::size_t value) {
    trie_.insert(text, std::uint32_t(value));
  }
  struct Match {
    std::size_t begin, end, value;
  };
  /// The first match at or behind `from`; end == 0: none.
  Match find(std::string_view text, std::size_t from) const;
  /// The values of all texts that occur anywhere, each once, in ascending order.
  std::vector<std::size_t> all_in(std::string_view text) const;

 private:
  ByteTrie trie_;
};

class AddedTokens {
 public:
  Result<void> add(AddedToken token, const Normalizer& normalizer, const std::string& where);

  const std::vector<AddedToken>& tokens() const { return tokens_; }
  const AddedToken* find(std::int32_t id) const;
  const AddedToken* find(std::string_view content) const;

  /// The input cut at added tokens, normalized in between. Special tokens are left in the text
  /// unless `parse_special`.
  std::vector<Piece> split(std::string_view text, const Normalizer& normalizer,
                           bool parse_special) const;

 private:
  void cut(Piece piece, const TextTrie& trie, bool parse_special, std::vector<Piece>& out) const;
  std::vector<AddedToken> tokens_;
  std::map<std::int32_t, std::size_t> by_id_;
  std::map<std::string, std::size_t, std::less<>> by_content_;
  TextTrie raw_, normalized_;
};

/// The "added_tokens" list of a tokenizer.json.
Result<std::vector<AddedToken>> parse_added_tokens(const Json& list, const std::string& where);

} // namespace bitlathe::text
