// SPDX-License-Identifier: Apache-2.0
// The tokens of a vocabulary by id.
#pragma once

#include "core/base/json.h"
#include "core/text/tokenizer.h"
#include "core/text/vocabulary.h"

namespace bitlathe::text {

struct TokenList {
  std::vector<std::string> tokens; ///< empty where an id has none
  std::vector<TokenKind> kinds;    ///< unused where an id has none

  std::size_t size() const { return tokens.size(); }
  bool has(std::int32_t id) const {
    return id >= 0 && std::size_t(id) < size() && kinds[std::size_t(id)] != TokenKind::unused;
  }
  /// An id of its own for a token; an error when it is taken or absurd.
  Result<void> place(const std::string& token, std::int64_t id, const std::string& where);
  /// The "vocab" object of a model.
  Result<void> load(const Json& model, Vocabulary& vocabulary, const std::string& where);
  /// Tokens spelled <0xXX> become byte tokens.
  void mark_bytes();
};

/// "<0x0A>" and the like: the byte, else -1.
int byte_of_token(std::string_view token);
std::string byte_token(unsigned char byte);

} // namespace bitlathe::text
