// SPDX-License-Identifier: Apache-2.0
#include "core/text/unicode.h"

#include <array>
#include <QString>

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

QString to_qstring(std::string_view text) {
  return QString::fromUtf8(text.data(), qsizetype(text.size()));
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

bool is_space(char32_t c) {
  if (c < 0x80)
    return c == ' ' || (c >= 9 && c <= 13);
  if (c == 0x85)
    return true;
  switch (QChar::category(c)) {
  case QChar::Separator_Space:
  case QChar::Separator_Line:
  case QChar::Separator_Paragraph:
    return true;
  default:
    return false;
  }
}

bool is_word(char32_t c) {
  switch (QChar::category(c)) {
  case QChar::Letter_Uppercase:
  case QChar::Letter_Lowercase:
  case QChar::Letter_Titlecase:
  case QChar::Letter_Modifier:
  case QChar::Letter_Other:
  case QChar::Number_DecimalDigit:
  case QChar::Number_Letter:
  case QChar::Mark_NonSpacing:
  case QChar::Mark_SpacingCombining:
  case QChar::Mark_Enclosing:
  case QChar::Punctuation_Connector:
    return true;
  default: // joiners, and the circled and squared letters, which count as alphabetic
    return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) ||
           (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
           (c >= 0x1F170 && c <= 0x1F189);
  }
}

bool is_numeric(char32_t c) {
  switch (QChar::category(c)) {
  case QChar::Number_DecimalDigit:
  case QChar::Number_Letter:
  case QChar::Number_Other:
    return true;
  default:
    return false;
  }
}

bool is_punctuation(char32_t c) {
  if (c < 0x80)
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
           (c >= '{' && c <= '~');
  switch (QChar::category(c)) {
  case QChar::Punctuation_Connector:
  case QChar::Punctuation_Dash:
  case QChar::Punctuation_Open:
  case QChar::Punctuation_Close:
  case QChar::Punctuation_InitialQuote:
  case QChar::Punctuation_FinalQuote:
  case QChar::Punctuation_Other:
    return true;
  default:
    return false;
  }
}

bool is_mark(char32_t c) {
  switch (QChar::category(c)) {
  case QChar::Mark_NonSpacing:
  case QChar::Mark_SpacingCombining:
  case QChar::Mark_Enclosing:
    return true;
  default:
    return false;
  }
}

std::string normal_form(std::string_view text, NormalForm form) {
  bool ascii = true;
  for (const char c : text)
    ascii = ascii && static_cast<unsigned char>(c) < 0x80;
  if (ascii)
    return std::string(text);
  const auto qt_form = form == NormalForm::nfc    ? QString::NormalizationForm_C
                       : form == NormalForm::nfd  ? QString::NormalizationForm_D
                       : form == NormalForm::nfkc ? QString::NormalizationForm_KC
                                                  : QString::NormalizationForm_KD;
  return to_qstring(text).normalized(qt_form).toUtf8().toStdString();
}

std::string lower_case(std::string_view text) {
  return to_qstring(text).toLower().toUtf8().toStdString();
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
