// SPDX-License-Identifier: Apache-2.0
// Facts of the Unicode Character Database: what versions 15.0 to 16.0 added.
#include "core/text/unicode_newer.h"

#include "core/text/unicode.h"

#include <algorithm>

namespace bitlathe::text {

namespace {

constexpr NewerRange ranges[] = {
    {0x897, 0x897, Newer::mark},
    {0xCF3, 0xCF3, Newer::spacing_mark},
    {0xECE, 0xECE, Newer::mark},
    {0x1B4E, 0x1B4F, Newer::punctuation},
    {0x1B7F, 0x1B7F, Newer::punctuation},
    {0x1C89, 0x1C89, Newer::upper},
    {0x1C8A, 0x1C8A, Newer::lower},
    {0x2427, 0x2429, Newer::symbol},
    {0x2FFC, 0x2FFF, Newer::symbol},
    {0x31E4, 0x31E5, Newer::symbol},
    {0x31EF, 0x31EF, Newer::symbol},
    {0xA7CB, 0xA7CC, Newer::upper},
    {0xA7CD, 0xA7CD, Newer::lower},
    {0xA7DA, 0xA7DA, Newer::upper},
    {0xA7DB, 0xA7DB, Newer::lower},
    {0xA7DC, 0xA7DC, Newer::upper},
    {0x105C0, 0x105F3, Newer::letter},
    {0x10D40, 0x10D49, Newer::digit},
    {0x10D4A, 0x10D4D, Newer::letter},
    {0x10D4E, 0x10D4E, Newer::modifier},
    {0x10D4F, 0x10D4F, Newer::letter},
    {0x10D50, 0x10D65, Newer::upper},
    {0x10D69, 0x10D6D, Newer::mark},
    {0x10D6E, 0x10D6E, Newer::punctuation},
    {0x10D6F, 0x10D6F, Newer::modifier},
    {0x10D70, 0x10D85, Newer::lower},
    {0x10D8E, 0x10D8F, Newer::math},
    {0x10EC2, 0x10EC4, Newer::letter},
    {0x10EFC, 0x10EFF, Newer::mark},
    {0x1123F, 0x11240, Newer::letter},
    {0x11241, 0x11241, Newer::mark},
    {0x11380, 0x11389, Newer::letter},
    {0x1138B, 0x1138B, Newer::letter},
    {0x1138E, 0x1138E, Newer::letter},
    {0x11390, 0x113B5, Newer::letter},
    {0x113B7, 0x113B7, Newer::letter},
    {0x113B8, 0x113BA, Newer::spacing_mark},
    {0x113BB, 0x113C0, Newer::mark},
    {0x113C2, 0x113C2, Newer::spacing_mark},
    {0x113C5, 0x113C5, Newer::spacing_mark},
    {0x113C7, 0x113CA, Newer::spacing_mark},
    {0x113CC, 0x113CD, Newer::spacing_mark},
    {0x113CE, 0x113CE, Newer::mark},
    {0x113CF, 0x113CF, Newer::spacing_mark},
    {0x113D0, 0x113D0, Newer::mark},
    {0x113D1, 0x113D1, Newer::letter},
    {0x113D2, 0x113D2, Newer::mark},
    {0x113D3, 0x113D3, Newer::letter},
    {0x113D4, 0x113D5, Newer::punctuation},
    {0x113D7, 0x113D8, Newer::punctuation},
    {0x113E1, 0x113E2, Newer::mark},
    {0x116D0, 0x116E3, Newer::digit},
    {0x11B00, 0x11B09, Newer::punctuation},
    {0x11BC0, 0x11BE0, Newer::letter},
    {0x11BE1, 0x11BE1, Newer::punctuation},
    {0x11BF0, 0x11BF9, Newer::digit},
    {0x11F00, 0x11F01, Newer::mark},
    {0x11F02, 0x11F02, Newer::letter},
    {0x11F03, 0x11F03, Newer::spacing_mark},
    {0x11F04, 0x11F10, Newer::letter},
    {0x11F12, 0x11F33, Newer::letter},
    {0x11F34, 0x11F35, Newer::spacing_mark},
    {0x11F36, 0x11F3A, Newer::mark},
    {0x11F3E, 0x11F3F, Newer::spacing_mark},
    {0x11F40, 0x11F40, Newer::mark},
    {0x11F41, 0x11F41, Newer::spacing_mark},
    {0x11F42, 0x11F42, Newer::mark},
    {0x11F43, 0x11F4F, Newer::punctuation},
    {0x11F50, 0x11F59, Newer::digit},
    {0x11F5A, 0x11F5A, Newer::mark},
    {0x1342F, 0x1342F, Newer::letter},
    {0x13439, 0x1343F, Newer::format},
    {0x13440, 0x13440, Newer::mark},
    {0x13441, 0x13446, Newer::letter},
    {0x13447, 0x13455, Newer::mark},
    {0x13460, 0x143FA, Newer::letter},
    {0x16100, 0x1611D, Newer::letter},
    {0x1611E, 0x16129, Newer::mark},
    {0x1612A, 0x1612C, Newer::spacing_mark},
    {0x1612D, 0x1612F, Newer::mark},
    {0x16130, 0x16139, Newer::digit},
    {0x16D40, 0x16D42, Newer::modifier},
    {0x16D43, 0x16D6A, Newer::letter},
    {0x16D6B, 0x16D6C, Newer::modifier},
    {0x16D6D, 0x16D6F, Newer::punctuation},
    {0x16D70, 0x16D79, Newer::digit},
    {0x18CFF, 0x18CFF, Newer::letter},
    {0x1B132, 0x1B132, Newer::letter},
    {0x1B155, 0x1B155, Newer::letter},
    {0x1CC00, 0x1CCEF, Newer::symbol},
    {0x1CCF0, 0x1CCF9, Newer::digit},
    {0x1CD00, 0x1CEB3, Newer::symbol},
    {0x1D2C0, 0x1D2D3, Newer::number},
    {0x1DF25, 0x1DF2A, Newer::lower},
    {0x1E030, 0x1E06D, Newer::modifier},
    {0x1E08F, 0x1E08F, Newer::mark},
    {0x1E4D0, 0x1E4EA, Newer::letter},
    {0x1E4EB, 0x1E4EB, Newer::modifier},
    {0x1E4EC, 0x1E4EF, Newer::mark},
    {0x1E4F0, 0x1E4F9, Newer::digit},
    {0x1E5D0, 0x1E5ED, Newer::letter},
    {0x1E5EE, 0x1E5EF, Newer::mark},
    {0x1E5F0, 0x1E5F0, Newer::letter},
    {0x1E5F1, 0x1E5FA, Newer::digit},
    {0x1E5FF, 0x1E5FF, Newer::punctuation},
    {0x1F6DC, 0x1F6DC, Newer::symbol},
    {0x1F774, 0x1F776, Newer::symbol},
    {0x1F77B, 0x1F77F, Newer::symbol},
    {0x1F7D9, 0x1F7D9, Newer::symbol},
    {0x1F8B2, 0x1F8BB, Newer::symbol},
    {0x1F8C0, 0x1F8C1, Newer::symbol},
    {0x1FA75, 0x1FA77, Newer::symbol},
    {0x1FA87, 0x1FA89, Newer::symbol},
    {0x1FA8F, 0x1FA8F, Newer::symbol},
    {0x1FAAD, 0x1FAAF, Newer::symbol},
    {0x1FABB, 0x1FABF, Newer::symbol},
    {0x1FAC6, 0x1FAC6, Newer::symbol},
    {0x1FACE, 0x1FACF, Newer::symbol},
    {0x1FADA, 0x1FADC, Newer::symbol},
    {0x1FADF, 0x1FADF, Newer::symbol},
    {0x1FAE8, 0x1FAE9, Newer::symbol},
    {0x1FAF7, 0x1FAF8, Newer::symbol},
    {0x1FBCB, 0x1FBEF, Newer::symbol},
    {0x2B739, 0x2B739, Newer::han},
    {0x2EBF0, 0x2EE5D, Newer::han},
    {0x31350, 0x323AF, Newer::han},
};

/// A character of Unicode 14 with the same category and as many bytes, three or four.
char32_t stand_in(Newer category, bool three_bytes) {
  switch (category) {
  case Newer::upper:
    return three_bytes ? 0x1E00 : 0x10400;
  case Newer::lower:
    return three_bytes ? 0x1E01 : 0x10428;
  case Newer::modifier:
    return three_bytes ? 0x1D2C : 0x10780;
  case Newer::letter:
    return three_bytes ? 0xA000 : 0x10280;
  case Newer::mark:
    return three_bytes ? 0x1DC0 : 0x101FD;
  case Newer::spacing_mark:
    return three_bytes ? 0x1CE1 : 0x11000;
  case Newer::digit:
    return three_bytes ? 0x1810 : 0x104A0;
  case Newer::number:
    return three_bytes ? 0x2080 : 0x10107;
  case Newer::punctuation:
    return three_bytes ? 0x2016 : 0x10100;
  case Newer::math:
    return three_bytes ? 0x2200 : 0x1D6C1;
  case Newer::symbol:
    return three_bytes ? 0x2300 : 0x10137;
  case Newer::format:
    return three_bytes ? 0x2060 : 0x110BD;
  case Newer::han:
    break;
  }
  return 0x20000;
}

} // namespace

std::span<const NewerRange> newer_ranges() { return ranges; }

bool with_stand_ins(std::string_view text, std::string& out) {
  bool changed = false;
  for (std::size_t pos = 0; pos < text.size();) {
    // The first of them has three bytes; most text has none.
    if (static_cast<unsigned char>(text[pos]) < 0xE0) {
      pos += 1;
      continue;
    }
    const std::size_t begin = pos;
    const char32_t c = next_char(text, pos);
    if (!is_newer(c))
      continue;
    const auto* range =
        std::upper_bound(std::begin(ranges), std::end(ranges), c,
                         [](char32_t x, const NewerRange& r) { return x < r.first; }) -
        1;
    if (!changed)
      out.assign(text);
    changed = true;
    std::string other;
    append_char(other, stand_in(range->category, c < 0x10000));
    out.replace(begin, pos - begin, other);
  }
  return changed;
}

} // namespace bitlathe::text
