// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace bitlathe::text {

struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
};
/// Ids by token.
using Vocabulary = std::unordered_map<std::string, std::int32_t, StringHash, std::equal_to<>>;

inline std::int32_t find_token(const Vocabulary& vocabulary, std::string_view token) {
  const auto it = vocabulary.find(token);
  return it == vocabulary.end() ? -1 : it->second;
}

} // namespace bitlathe::text
