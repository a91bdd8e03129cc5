// SPDX-License-Identifier: Apache-2.0
// Characters that came after Unicode 14, which is what Qt 6.4 and PCRE2 10.42 know. The Hugging
// Face library knows them, so they have to be treated as letters, marks and digits here too.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace bitlathe::text {

enum class Newer : unsigned char {
  upper,
  lower,
  modifier,
  letter,
  han,
  mark,
  spacing_mark,
  digit,
  number,
  punctuation,
  math,
  symbol,
  format
};

struct NewerRange {
  char32_t first, last;
  Newer category;
};
std::span<const NewerRange> newer_ranges();

/// Valid UTF-8 with every newer character replaced by an older one of the same category and length;
/// false (and `out` untouched) when there is none.
bool with_stand_ins(std::string_view text, std::string& out);

} // namespace bitlathe::text
