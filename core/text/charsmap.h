// SPDX-License-Identifier: Apache-2.0
// SentencePiece's precompiled character map: a double-array trie from texts to their normal form.
#pragma once

#include "kernels/base/result.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bitlathe::text {

class Charsmap {
 public:
  /// `blob` empty: a map that changes nothing.
  static Result<Charsmap> parse(std::string_view blob, const std::string& where);

  bool empty() const { return units_.empty(); }
  struct Found {
    std::size_t length = 0; ///< of what was found; 0: nothing
    std::string_view normal;
  };
  Found longest_prefix(std::string_view text) const;
  Found shortest_prefix(std::string_view text) const;
  /// The whole text as the Hugging Face library does it: grapheme clusters of less than six bytes
  /// first, then single characters, each by its shortest known prefix.
  std::string normalized(std::string_view text) const;

 private:
  template <class F> void walk(std::string_view text, F&& found) const;
  std::vector<std::uint32_t> units_;
  std::string normal_; ///< texts, each closed by a zero byte
};

/// Standard alphabet, padding optional; white space is skipped.
Result<std::string> from_base64(std::string_view text, const std::string& where);

} // namespace bitlathe::text
