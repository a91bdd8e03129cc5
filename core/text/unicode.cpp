// SPDX-License-Identifier: Apache-2.0
#include "core/text/unicode.h"

#include "core/text/unicode_newer.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <QString>
#include <QTextBoundaryFinder>
#include <vector>

namespace bitlathe::text {

namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";

/// Length of the valid sequence at the front, or 0 with the length of the invalid part in `bad`.
std::size_t sequence_length(std::string_view s, std::size_t& bad) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned lead = byte(0);
  bad = 1;
  if (lead < 0x80)
    return 1;
  if (lead < 0xC2 || lead > 0xF4)
    return 0;
  const std::size_t need = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // The second byte's range excludes overlong forms, surrogates and values above U+10FFFF.
  const unsigned low = lead == 0xE0 ? 0xA0u : lead == 0xF0 ? 0x90u : 0x80u;
  const unsigned high = lead == 0xED ? 0x9Fu : lead == 0xF4 ? 0x8Fu : 0xBFu;
  for (std::size_t i = 1; i < need; ++i) {
    if (i >= s.size() || byte(i) < (i == 1 ? low : 0x80u) || byte(i) > (i == 1 ? high : 0xBFu)) {
      bad = i;
      return 0;
    }
  }
  return need;
}

/// QString::fromUtf8 would drop a byte order mark in front.
QString to_utf16(std::string_view text) {
  QString out;
  out.reserve(qsizetype(text.size()));
  for (std::size_t pos = 0; pos < text.size();) {
    const char32_t c = next_char(text, pos);
    if (c < 0x10000) {
      out += QChar(char16_t(c));
    } else {
      out += QChar(QChar::highSurrogate(c));
      out += QChar(QChar::lowSurrogate(c));
    }
  }
  return out;
}

std::string from_utf16(const QString& text) { return text.toUtf8().toStdString(); }

enum Flag : std::uint16_t {
  space = 1,
  word = 2,
  numeric = 4,
  punctuation = 8,
  mark = 16,
  nonspacing = 32,
  other = 64,
  newer = 128,
  cluster = 256
};

bool in_ranges(char32_t c, std::initializer_list<std::pair<char32_t, char32_t>> ranges) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [c](const auto& r) { return c >= r.first && c <= r.second; });
}

/// Flags of one character by the tables of Unicode 14, dated back by its age where a part of the
/// reference library has older ones.
std::uint16_t flags_of(char32_t c) {
  const auto category = QChar::category(c);
  const auto age = QChar::unicodeVersion(c);
  const bool marks = category <= QChar::Mark_Enclosing;
  unsigned f = 0;
  const auto set = [&f](unsigned flag, bool on) { f |= on ? flag : 0u; };
  set(space, (c >= 9 && c <= 13) || c == 0x85 ||
                 (category >= QChar::Separator_Space && category <= QChar::Separator_Paragraph));
  // Joiners, and the circled and squared letters, count as alphabetic.
  set(word, (category >= QChar::Letter_Uppercase && category <= QChar::Letter_Other) || marks ||
                category == QChar::Number_DecimalDigit || category == QChar::Number_Letter ||
                category == QChar::Punctuation_Connector ||
                in_ranges(c, {{0x200C, 0x200D},
                              {0x24B6, 0x24E9},
                              {0x1F130, 0x1F149},
                              {0x1F150, 0x1F169},
                              {0x1F170, 0x1F189}}));
  set(numeric, (category >= QChar::Number_DecimalDigit && category <= QChar::Number_Other) ||
                   in_ranges(c, {{0x11DE0, 0x11DE9}, {0x16FF4, 0x16FF6}}));
  set(punctuation, c < 0x80
                       ? std::ispunct(int(c)) != 0
                       : c == 0x166D || c == 0x111C9 ||
                             (category >= QChar::Punctuation_Connector &&
                              category <= QChar::Punctuation_Other && age <= QChar::Unicode_8_0));
  set(mark, (marks && age <= QChar::Unicode_9_0 && c != 0x111C9) || c == 0x1CF2 || c == 0x1CF3);
  set(nonspacing, (category == QChar::Mark_NonSpacing && age <= QChar::Unicode_8_0 &&
                   !in_ranges(c, {{0x1885, 0x1886}, {0xA9BD, 0xA9BD}, {0x111C9, 0x111C9}})) ||
                      c == 0x1734);
  set(other, category >= QChar::Other_Control && category <= QChar::Other_PrivateUse &&
                 age <= QChar::Unicode_8_0);
  // Extenders, spacing marks and prepended characters; longer clusters need no care.
  set(cluster, marks || category == QChar::Other_Format || c == '\r' ||
                   in_ranges(c, {{0xE33, 0xE33},
                                 {0xEB3, 0xEB3},
                                 {0xD4E, 0xD4E},
                                 {0x1100, 0x11FF},
                                 {0xFF9E, 0xFF9F},
                                 {0x111C2, 0x111C3},
                                 {0x1193F, 0x1193F},
                                 {0x11941, 0x11941},
                                 {0x11A3A, 0x11A3A},
                                 {0x11A84, 0x11A89},
                                 {0x11D46, 0x11D46},
                                 {0x1F3FB, 0x1F3FF}}));
  return std::uint16_t(f);
}

struct FlagTable {
  std::vector<std::uint16_t> of = std::vector<std::uint16_t>(0x110000);

  FlagTable() {
    for (char32_t c = 0; c < of.size(); ++c)
      of[c] = flags_of(c);
    for (const auto& range : newer_ranges())
      for (char32_t c = range.first; c <= range.last; ++c) {
        const auto k = range.category;
        const bool marks = k == Newer::mark || k == Newer::spacing_mark;
        const bool digits = k == Newer::digit || k == Newer::number;
        const bool words = k <= Newer::han || marks || k == Newer::digit;
        unsigned f = newer;
        if (words)
          f |= word;
        if (digits)
          f |= numeric;
        if (marks)
          f |= cluster;
        of[c] = std::uint16_t(f);
      }
  }
};

bool has(char32_t c, Flag flag) {
  static const FlagTable table;
  return c < table.of.size() && (table.of[c] & flag) != 0;
}

/// Simple lower case, with the letters that Qt's tables do not have yet.
char32_t lower_char(char32_t c) {
  if (c < 0x1C89)
    return QChar::toLower(c);
  switch (c) {
  case 0x1C89:
  case 0xA7CC:
  case 0xA7CE:
  case 0xA7D2:
  case 0xA7D4:
  case 0xA7DA:
    return c + 1;
  case 0xA7CB:
    return 0x264;
  case 0xA7DC:
    return 0x19B;
  default:
    break;
  }
  if (c >= 0x10D50 && c <= 0x10D65)
    return c + 0x20;
  if (c >= 0x16EA0 && c <= 0x16EB8)
    return c + 0x1B;
  return QChar::toLower(c);
}

struct ByteAlphabet {
  std::array<std::string, 256> text;
  std::array<std::int16_t, 512> byte;

  ByteAlphabet() {
    byte.fill(-1);
    char32_t other = 256;
    for (int b = 0; b < 256; ++b) {
      const bool printable =
          (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
      const char32_t c = printable ? char32_t(b) : other++;
      append_char(text[std::size_t(b)], c);
      byte[c] = std::int16_t(b);
    }
  }
};
const ByteAlphabet& alphabet() {
  static const ByteAlphabet instance;
  return instance;
}

} // namespace

std::string valid_utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  std::size_t copied = 0, pos = 0;
  while (pos < bytes.size()) {
    std::size_t bad = 0;
    if (const auto length = sequence_length(bytes.substr(pos), bad)) {
      pos += length;
      continue;
    }
    out.append(bytes, copied, pos - copied).append(replacement);
    pos += bad;
    copied = pos;
  }
  return out.append(bytes, copied);
}

char32_t next_char(std::string_view text, std::size_t& pos) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? char32_t(static_cast<unsigned char>(text[i])) : 0x80;
  };
  const char32_t lead = byte(pos);
  if (lead < 0x80) {
    pos += 1;
    return lead;
  }
  if (lead < 0xE0) {
    const char32_t c = (lead & 0x1F) << 6 | (byte(pos + 1) & 0x3F);
    pos += 2;
    return c;
  }
  if (lead < 0xF0) {
    const char32_t c = (lead & 0x0F) << 12 | (byte(pos + 1) & 0x3F) << 6 | (byte(pos + 2) & 0x3F);
    pos += 3;
    return c;
  }
  const char32_t c = (lead & 0x07) << 18 | (byte(pos + 1) & 0x3F) << 12 |
                     (byte(pos + 2) & 0x3F) << 6 | (byte(pos + 3) & 0x3F);
  pos += 4;
  return c;
}

std::size_t previous_char(std::string_view text, std::size_t pos) {
  while (pos > 0 && (static_cast<unsigned char>(text[--pos]) & 0xC0) == 0x80) {
  }
  return pos;
}

void append_char(std::string& text, char32_t c) {
  if (c < 0x80) {
    text += char(c);
  } else if (c < 0x800) {
    text += char(0xC0 | c >> 6);
    text += char(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    text += char(0xE0 | c >> 12);
    text += char(0x80 | (c >> 6 & 0x3F));
    text += char(0x80 | (c & 0x3F));
  } else {
    text += char(0xF0 | c >> 18);
    text += char(0x80 | (c >> 12 & 0x3F));
    text += char(0x80 | (c >> 6 & 0x3F));
    text += char(0x80 | (c & 0x3F));
  }
}

bool is_space(char32_t c) { return has(c, space); }
bool is_word(char32_t c) { return has(c, word); }
bool is_numeric(char32_t c) { return has(c, numeric); }
bool is_punctuation(char32_t c) { return has(c, punctuation); }
bool is_mark(char32_t c) { return has(c, mark); }
bool is_nonspacing(char32_t c) { return has(c, nonspacing); }
bool is_other(char32_t c) { return has(c, other); }
bool is_newer(char32_t c) { return has(c, newer); }
bool may_cluster(char32_t c) { return has(c, cluster); }

std::string normal_form(std::string_view text, NormalForm form) {
  const auto qt_form = form == NormalForm::nfc    ? QString::NormalizationForm_C
                       : form == NormalForm::nfd  ? QString::NormalizationForm_D
                       : form == NormalForm::nfkc ? QString::NormalizationForm_KC
                                                  : QString::NormalizationForm_KD;
  // Nothing below these changes, and characters compose only with what follows them.
  const char32_t first_changing = form == NormalForm::nfc ? 0x300 : 0xA0;
  std::string out;
  std::size_t copied = 0, last_ascii = 0;
  for (std::size_t pos = 0; pos < text.size();) {
    if (static_cast<unsigned char>(text[pos]) < 0x80) {
      last_ascii = pos++;
      continue;
    }
    if (next_char(text, pos) < first_changing)
      continue;
    while (pos < text.size() && static_cast<unsigned char>(text[pos]) >= 0x80)
      ++pos;
    out.append(text, copied, last_ascii - copied);
    out += from_utf16(to_utf16(text.substr(last_ascii, pos - last_ascii))
                          .normalized(qt_form, QChar::Unicode_9_0));
    copied = last_ascii = pos;
  }
  return copied == 0 ? std::string(text) : out.append(text, copied);
}

std::string lower_case(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t pos = 0; pos < text.size();) {
    const char32_t c = next_char(text, pos);
    if (c < 0x80) {
      out += char(c >= 'A' && c <= 'Z' ? c + 32 : c);
    } else if (c == 0x130) {
      out += "i\u0307"; // the one character that becomes two
    } else {
      append_char(out, lower_char(c));
    }
  }
  return out;
}

void for_each_grapheme(std::string_view text, const std::function<void(std::string_view)>& f) {
  for (std::size_t pos = 0; pos < text.size();) {
    // Most characters stand alone; a run of those that may not is left to Qt.
    std::size_t begin = pos, next = pos;
    const char32_t c = next_char(text, next);
    std::size_t after = next;
    const bool joins =
        may_cluster(c) || (next < text.size() && may_cluster(next_char(text, after)));
    if (!joins) {
      f(text.substr(begin, next - begin));
      pos = next;
      continue;
    }
    std::size_t end = next;
    bool before = true;
    while (end < text.size()) {
      std::size_t behind = end;
      const bool clusters = may_cluster(next_char(text, behind));
      if (!clusters && !before)
        break;
      before = clusters;
      end = behind;
    }
    const QString wide = to_utf16(text.substr(begin, end - begin));
    QTextBoundaryFinder finder(QTextBoundaryFinder::Grapheme, wide);
    qsizetype from = 0;
    for (auto to = finder.toNextBoundary(); to > from; to = finder.toNextBoundary()) {
      std::size_t bytes = 0;
      for (auto i = from; i < to; ++i) {
        const QChar unit = wide[i];
        bytes += unit.unicode() < 0x80 ? 1 : unit.unicode() < 0x800 || unit.isSurrogate() ? 2 : 3;
      }
      f(text.substr(begin, bytes));
      begin += bytes;
      from = to;
    }
    pos = end;
  }
}

std::string_view byte_to_printable(unsigned char byte) { return alphabet().text[byte]; }

int printable_to_byte(char32_t c) { return c < alphabet().byte.size() ? alphabet().byte[c] : -1; }

std::string to_printable(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char c : bytes)
    out += byte_to_printable(static_cast<unsigned char>(c));
  return out;
}

std::string from_printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t pos = 0; pos < text.size();) {
    const int byte = printable_to_byte(next_char(text, pos));
    if (byte < 0)
      return std::string(text);
    out += char(byte);
  }
  return out;
}

} // namespace bitlathe::text
