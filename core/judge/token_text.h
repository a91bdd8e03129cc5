// SPDX-License-Identifier: Apache-2.0
// Bytes of tokens as text that people can read: a character may be split over several tokens.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace bitlathe {

/// Bytes to characters as they come in: returns what is complete and keeps the rest. Bytes that
/// cannot become a character are U+FFFD.
class Utf8Stream {
 public:
  std::string push(std::string_view bytes);
  std::string finish(); ///< what is left, as U+FFFD
 private:
  std::string rest_;
};

/// The characters that are complete with each piece; what is left at the end goes to the last one.
std::vector<std::string> texts_of(const std::vector<std::string>& pieces);
/// Bytes as valid UTF-8, U+FFFD for what is none.
std::string display_text(std::string_view bytes);
/// One token alone: its characters where its bytes are some, else the bytes as <E2>.
std::string piece_text(std::string_view bytes);
/// The same with spaces, tabs and line breaks made visible; an empty one is an empty-set sign.
std::string visible_text(std::string_view text);

} // namespace bitlathe
