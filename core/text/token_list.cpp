// SPDX-License-Identifier: Apache-2.0
#include "core/text/token_list.h"

namespace bitlathe::text {

namespace {

/// Vocabularies of today end below 300,000; a larger id in a file is damage, not a model.
constexpr std::int64_t largest_id = 8'000'000;

int hex_digit(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                : -1;
}

} // namespace

Result<void> TokenList::place(const std::string& token, std::int64_t id, const std::string& where) {
  if (id < 0 || id > largest_id)
    return Error{"bad-file",
                 "The token \"" + token + "\" has the id " + std::to_string(id) +
                     ", which is out of range",
                 where};
  const auto at = std::size_t(id);
  if (at >= tokens.size()) {
    tokens.resize(at + 1);
    kinds.resize(at + 1, TokenKind::unused);
  }
  if (kinds[at] != TokenKind::unused)
    return Error{"bad-file",
                 "The id " + std::to_string(id) + " belongs to two tokens, \"" + tokens[at] +
                     "\" and \"" + token + "\"",
                 where};
  tokens[at] = token;
  kinds[at] = TokenKind::normal;
  return {};
}

Result<void> TokenList::load(const Json& model, Vocabulary& vocabulary, const std::string& where) {
  const auto vocab = model.find("vocab");
  if (vocab == model.end() || !vocab->is_object())
    return Error{"bad-file", "The model has no \"vocab\" object", where};
  if (vocab->empty())
    return Error{"bad-file", "The vocabulary is empty", where};
  vocabulary.reserve(vocab->size());
  for (const auto& [token, id] : vocab->items()) {
    if (!id.is_number_integer())
      return Error{"bad-file", "The token \"" + token + "\" has an id that is no whole number",
                   where};
    if (id.is_number_unsigned() && id.get<std::uint64_t>() > std::uint64_t(largest_id))
      return Error{
          "bad-file",
          "The token \"" + token + "\" has the id " + id.dump() + ", which is out of range", where};
    TRY(place(token, id.get<std::int64_t>(), where));
    vocabulary.emplace(token, id.get<std::int32_t>());
  }
  return {};
}

void TokenList::mark_bytes() {
  for (std::size_t id = 0; id < tokens.size(); ++id)
    if (kinds[id] == TokenKind::normal && byte_of_token(tokens[id]) >= 0)
      kinds[id] = TokenKind::byte;
}

int byte_of_token(std::string_view token) {
  if (token.size() != 6 || token.compare(0, 3, "<0x") != 0 || token[5] != '>')
    return -1;
  const int high = hex_digit(token[3]), low = hex_digit(token[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

std::string byte_token(unsigned char byte) {
  constexpr char hex[] = "0123456789ABCDEF";
  return std::string("<0x") + hex[byte >> 4] + hex[byte & 15] + ">";
}

} // namespace bitlathe::text
