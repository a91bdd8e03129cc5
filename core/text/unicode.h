// SPDX-License-Identifier: Apache-2.0
// UTF-8 walking, character classes and normal forms, as tokenizers need them.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace bitlathe::text {

/// Valid UTF-8: every invalid sequence becomes one U+FFFD (maximal subparts, like WHATWG decoders).
std::string valid_utf8(std::string_view bytes);
/// The code point at `pos` of valid UTF-8; `pos` moves behind it.
char32_t next_char(std::string_view text, std::size_t& pos);
/// The start of the character that ends right before `pos`.
std::size_t previous_char(std::string_view text, std::size_t pos);
/// Bytes of the character that a valid lead byte starts.
inline std::size_t char_bytes(char lead) {
  const auto b = static_cast<unsigned char>(lead);
  return b < 0x80 ? 1 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : 4;
}
void append_char(std::string& text, char32_t c);

// Classes as the Hugging Face library sees them; each of its parts has tables of another age.
bool is_space(char32_t c);       ///< White_Space
bool is_word(char32_t c);        ///< \w: letters, marks, decimal digits, connectors, joiners
bool is_numeric(char32_t c);     ///< categories N*
bool is_punctuation(char32_t c); ///< categories P* of Unicode 8 and all ASCII punctuation
bool is_mark(char32_t c);        ///< categories M* of Unicode 9
bool is_nonspacing(char32_t c);  ///< category Mn of Unicode 8
bool is_other(char32_t c);       ///< categories Cc, Cf, Cs and Co of Unicode 8
bool is_newer(char32_t c);       ///< added after Unicode 14 (unicode_newer.h)
/// May be part of a grapheme cluster of several characters that has less than six bytes.
bool may_cluster(char32_t c);

enum class NormalForm { nfc, nfd, nfkc, nfkd };
/// Normal forms of Unicode 9, which is what the Hugging Face library uses.
std::string normal_form(std::string_view text, NormalForm form);
/// Character by character, without regard to neighbours.
std::string lower_case(std::string_view text);
/// Calls `f` with every grapheme cluster of valid UTF-8.
void for_each_grapheme(std::string_view text, const std::function<void(std::string_view)>& f);

/// GPT-2's printable alphabet for bytes: the UTF-8 text of the character that stands for a byte.
std::string_view byte_to_printable(unsigned char byte);
/// The byte a character of that alphabet stands for; -1 for other characters.
int printable_to_byte(char32_t c);
std::string to_printable(std::string_view bytes);
/// The bytes behind a text of that alphabet; the text itself when a character is not of it.
std::string from_printable(std::string_view text);

} // namespace bitlathe::text
