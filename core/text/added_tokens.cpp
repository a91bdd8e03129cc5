// SPDX-License-Identifier: Apache-2.0
#include "core/text/added_tokens.h"

#include "core/text/unicode.h"

#include <algorithm>
#include <set>

namespace bitlathe::text {

TextTrie::Match TextTrie::find(std::string_view text, std::size_t from) const {
  if (empty())
    return {0, 0, 0};
  for (std::size_t begin = from; begin < text.size(); ++begin) {
    if (trie_.child(ByteTrie::root, text[begin]) == ByteTrie::none)
      continue;
    Match best{begin, 0, 0};
    trie_.each_prefix(text.substr(begin), [&](std::size_t size, std::uint32_t value) {
      best = {begin, begin + size, value};
    });
    if (best.end)
      return best;
  }
  return {0, 0, 0};
}

std::vector<std::size_t> TextTrie::all_in(std::string_view text) const {
  std::set<std::size_t> found;
  for (std::size_t begin = 0; begin < text.size(); ++begin)
    if (trie_.child(ByteTrie::root, text[begin]) != ByteTrie::none)
      trie_.each_prefix(text.substr(begin),
                        [&](std::size_t, std::uint32_t value) { found.insert(value); });
  return {found.begin(), found.end()};
}

Result<void> AddedTokens::add(AddedToken token, const Normalizer& normalizer,
                              const std::string& where) {
  if (by_id_.count(token.id) || by_content_.count(token.content))
    return Error{"bad-file",
                 "The added token \"" + token.content + "\" (id " + std::to_string(token.id) +
                     ") is listed twice",
                 where};
  const std::size_t index = tokens_.size();
  by_id_[token.id] = index;
  by_content_[token.content] = index;
  if (token.normalized)
    normalized_.insert(text::normalized(normalizer, token.content), index);
  else
    raw_.insert(token.content, index);
  tokens_.push_back(std::move(token));
  return {};
}

const AddedToken* AddedTokens::find(std::int32_t id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : &tokens_[it->second];
}

const AddedToken* AddedTokens::find(std::string_view content) const {
  const auto it = by_content_.find(content);
  return it == by_content_.end() ? nullptr : &tokens_[it->second];
}

void AddedTokens::cut(Piece piece, const TextTrie& trie, bool parse_special,
                      std::vector<Piece>& out) const {
  const std::string_view text = piece.text;
  std::size_t done = 0;
  const auto add = [&](std::size_t begin, std::size_t end, std::int32_t id) {
    out.push_back({std::string(text.substr(begin, end - begin)), id, piece.at_start && begin == 0});
  };
  for (std::size_t from = 0; from < text.size();) {
    const auto match = trie.find(text, from);
    if (match.end == 0)
      break;
    from = match.end; // also behind a match that is then not taken
    const AddedToken& token = tokens_[match.value];
    if (token.special && !parse_special)
      continue;
    std::size_t begin = match.begin, end = match.end;
    if (token.single_word) {
      std::size_t before = previous_char(text, begin), behind = end;
      if ((begin > 0 && is_word(next_char(text, before))) ||
          (end < text.size() && is_word(next_char(text, behind))))
        continue;
    }
    if (token.left_strip)
      begin = std::max(begin, done);
    while (token.left_strip && begin > done) {
      const std::size_t last = previous_char(text, begin);
      std::size_t pos = last;
      if (!is_space(next_char(text, pos)))
        break;
      begin = last;
    }
    while (token.right_strip && end < text.size()) {
      std::size_t next = end;
      if (!is_space(next_char(text, next)))
        break;
      end = next;
    }
    if (begin > done)
      add(done, begin, -1);
    if (end > begin) // the spaces of the token before may have taken it all
      add(begin, end, token.id);
    done = end; // may lie before the end of the token before, like in the reference
  }
  if (done == 0)
    out.push_back(std::move(piece));
  else if (done < text.size())
    add(done, text.size(), -1);
}

std::vector<Piece> AddedTokens::split(std::string_view text, const Normalizer& normalizer,
                                      bool parse_special) const {
  std::vector<Piece> raw, out;
  cut({std::string(text), -1, true}, raw_, parse_special, raw);
  for (auto& piece : raw) {
    if (piece.token >= 0) {
      out.push_back(std::move(piece));
      continue;
    }
    for (const auto& step : normalizer)
      step(piece.text);
    cut(std::move(piece), normalized_, parse_special, out);
  }
  return out;
}

Result<std::vector<AddedToken>> parse_added_tokens(const Json& list, const std::string& where) {
  std::vector<AddedToken> tokens;
  if (list.is_null())
    return tokens;
  if (!list.is_array())
    return Error{"bad-file", "\"added_tokens\" must be a list", where};
  for (const auto& item : list) {
    if (!item.is_object())
      return Error{"bad-file", "An added token must be an object", where};
    AddedToken token;
    TRY_ASSIGN(token.content, json_string(item, "content", where));
    TRY_ASSIGN(const auto id, json_int(item, "id", where));
    if (id < 0 || id > INT32_MAX)
      return Error{"bad-file",
                   "The added token \"" + token.content + "\" has the id " + std::to_string(id),
                   where};
    token.id = std::int32_t(id);
    TRY_ASSIGN(token.special, json_bool_or(item, "special", false, where));
    TRY_ASSIGN(token.normalized, json_bool_or(item, "normalized", !token.special, where));
    TRY_ASSIGN(token.single_word, json_bool_or(item, "single_word", false, where));
    TRY_ASSIGN(token.left_strip, json_bool_or(item, "lstrip", false, where));
    TRY_ASSIGN(token.right_strip, json_bool_or(item, "rstrip", false, where));
    if (!token.content.empty()) // the reference leaves these out as well
      tokens.push_back(std::move(token));
  }
  return tokens;
}

} // namespace bitlathe::text
