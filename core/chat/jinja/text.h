// SPDX-License-Identifier: Apache-2.0
// Texts as Python sees them: sequences of characters (code points), kept here as UTF-8. Every text
// of a template is valid UTF-8; valid_utf8() makes it so at the doors.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bitlathe::jinja {

/// Invalid bytes become U+FFFD.
std::string valid_utf8(std::string_view text);
std::string utf8(std::uint32_t character);

inline std::size_t character_size(std::string_view text, std::size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  const std::size_t size = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  return std::min(size, text.size() - at);
}
std::uint32_t character_at(std::string_view text, std::size_t at);
std::size_t text_length(std::string_view text);
/// Byte where character `index` begins; the end when there are fewer.
std::size_t byte_of(std::string_view text, std::size_t index);
std::u32string wide(std::string_view text);
std::string narrow(std::u32string_view text);

bool space(std::uint32_t c);     ///< str.isspace
bool printable(std::uint32_t c); ///< str.isprintable
bool alphabetic(std::uint32_t c);
bool decimal(std::uint32_t c);
bool digit(std::uint32_t c);
bool numeric(std::uint32_t c);
bool upper_case(std::uint32_t c);
bool lower_case(std::uint32_t c);
bool title_case(std::uint32_t c);

std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string title(std::string_view text); ///< str.title
std::string capitalized(std::string_view text);

/// As find and rfind, in time that grows with the sum of the lengths.
std::size_t find_in(std::string_view text, std::string_view what, std::size_t from = 0);
std::size_t find_last_in(std::string_view text, std::string_view what);

enum class Side { left = 1, right = 2, both = 3 };
/// `characters` empty and `spaces` true: white space.
std::string_view stripped(std::string_view text, Side side, bool spaces,
                          std::string_view characters);
std::vector<std::string_view> lines(std::string_view text, bool keep_ends);
/// At runs of white space; at most `most` cuts (below 0: all).
std::vector<std::string_view> words(std::string_view text, std::int64_t most, bool from_right);

} // namespace bitlathe::jinja
