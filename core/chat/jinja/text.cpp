// SPDX-License-Identifier: Apache-2.0
#include "core/chat/jinja/text.h"

#include <algorithm>
#include <cstring>
#include <QString>

namespace bitlathe::jinja {

std::string utf8(std::uint32_t c) {
  std::string out;
  if (c < 0x80) {
    out += char(c);
  } else if (c < 0x800) {
    out += char(0xc0 | c >> 6);
    out += char(0x80 | (c & 63));
  } else if (c < 0x10000) {
    out += char(0xe0 | c >> 12);
    out += char(0x80 | (c >> 6 & 63));
    out += char(0x80 | (c & 63));
  } else {
    out += char(0xf0 | c >> 18);
    out += char(0x80 | (c >> 12 & 63));
    out += char(0x80 | (c >> 6 & 63));
    out += char(0x80 | (c & 63));
  }
  return out;
}

std::string valid_utf8(std::string_view text) {
  if (std::all_of(text.begin(), text.end(),
                  [](char c) { return static_cast<signed char>(c) >= 0; }))
    return std::string(text);
  return QString::fromUtf8(text.data(), qsizetype(text.size())).toStdString();
}

std::uint32_t character_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) {
    return at + i < text.size() ? std::uint32_t(static_cast<unsigned char>(text[at + i])) : 0;
  };
  switch (character_size(text, at)) {
  case 1:
    return byte(0);
  case 2:
    return (byte(0) & 31) << 6 | (byte(1) & 63);
  case 3:
    return (byte(0) & 15) << 12 | (byte(1) & 63) << 6 | (byte(2) & 63);
  default:
    return (byte(0) & 7) << 18 | (byte(1) & 63) << 12 | (byte(2) & 63) << 6 | (byte(3) & 63);
  }
}

std::size_t text_length(std::string_view text) {
  return std::size_t(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

std::size_t byte_of(std::string_view text, std::size_t index) {
  std::size_t at = 0;
  for (; index > 0 && at < text.size(); --index)
    at += character_size(text, at);
  return at;
}

std::u32string wide(std::string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size(); at += character_size(text, at))
    out += char32_t(character_at(text, at));
  return out;
}

std::string narrow(std::u32string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char32_t c : text)
    out += utf8(c);
  return out;
}

// --- characters
// -----------------------------------------------------------------------------------

bool space(std::uint32_t c) {
  return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

bool printable(std::uint32_t c) {
  if (c < 0x7f)
    return c >= 0x20;
  switch (QChar::category(char32_t(c))) {
  case QChar::Other_Control:
  case QChar::Other_Format:
  case QChar::Other_Surrogate:
  case QChar::Other_PrivateUse:
  case QChar::Other_NotAssigned:
  case QChar::Separator_Line:
  case QChar::Separator_Paragraph:
  case QChar::Separator_Space:
    return false;
  default:
    return true;
  }
}

bool alphabetic(std::uint32_t c) { return QChar::isLetter(char32_t(c)); }
bool decimal(std::uint32_t c) { return QChar::isDigit(char32_t(c)); }
bool digit(std::uint32_t c) { return decimal(c) || QChar::digitValue(char32_t(c)) >= 0; }
bool numeric(std::uint32_t c) { return digit(c) || QChar::isNumber(char32_t(c)); }
bool upper_case(std::uint32_t c) { return QChar::isUpper(char32_t(c)); }
bool lower_case(std::uint32_t c) {
  return QChar::isLower(char32_t(c)) || c == 0xaa || c == 0xba; // feminine and masculine ordinals
}
bool title_case(std::uint32_t c) { return QChar::isTitleCase(char32_t(c)); }

// --- case
// -----------------------------------------------------------------------------------------

namespace {

template <class Ascii, class Rest>
std::string mapped(std::string_view text, Ascii ascii, Rest rest) {
  std::string out(text);
  bool plain = true;
  for (char& c : out) {
    plain = plain && static_cast<signed char>(c) >= 0;
    c = ascii(c);
  }
  return plain ? out : rest(QString::fromUtf8(text.data(), qsizetype(text.size()))).toStdString();
}

} // namespace

std::string upper(std::string_view text) {
  return mapped(
      text, [](char c) { return c >= 'a' && c <= 'z' ? char(c - 32) : c; },
      [](const QString& s) { return s.toUpper(); });
}

std::string lower(std::string_view text) {
  return mapped(
      text, [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; },
      [](const QString& s) { return s.toLower(); });
}

namespace {

std::string title_character(std::string_view character) {
  const std::uint32_t c = character_at(character, 0), t = QChar::toTitleCase(char32_t(c));
  return t != c ? utf8(t) : upper(character);
}

} // namespace

std::string title(std::string_view text) {
  std::string out;
  bool inside = false;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t size = character_size(text, at);
    const auto character = text.substr(at, size);
    const std::uint32_t c = character_at(text, at);
    out += inside ? lower(character) : title_character(character);
    inside = upper_case(c) || lower_case(c) || title_case(c);
    at += size;
  }
  return out;
}

std::string capitalized(std::string_view text) {
  if (text.empty())
    return {};
  const std::size_t first = character_size(text, 0);
  return title_character(text.substr(0, first)) + lower(text.substr(first));
}

// --- search
// ---------------------------------------------------------------------------------------

std::size_t find_in(std::string_view text, std::string_view what, std::size_t from) {
  if (from > text.size())
    return text.npos;
  if (what.empty())
    return from;
  const void* found = memmem(text.data() + from, text.size() - from, what.data(), what.size());
  return found ? std::size_t(static_cast<const char*>(found) - text.data()) : text.npos;
}

std::size_t find_last_in(std::string_view text, std::string_view what) {
  const std::string backwards(text.rbegin(), text.rend()), wanted(what.rbegin(), what.rend());
  const std::size_t at = find_in(backwards, wanted);
  return at == text.npos ? at : text.size() - at - what.size();
}

// --- parts
// ----------------------------------------------------------------------------------------

std::string_view stripped(std::string_view text, Side side, bool spaces,
                          std::string_view characters) {
  const auto unwanted = [&](std::size_t at, std::size_t size) {
    return spaces ? space(character_at(text, at))
                  : characters.find(text.substr(at, size)) != characters.npos;
  };
  std::size_t begin = 0, end = text.size();
  if (int(side) & int(Side::left))
    while (begin < end && unwanted(begin, character_size(text, begin)))
      begin += character_size(text, begin);
  if (int(side) & int(Side::right))
    while (begin < end) {
      std::size_t last = end - 1;
      while (last > begin && (static_cast<unsigned char>(text[last]) & 0xc0) == 0x80)
        --last;
      if (!unwanted(last, end - last))
        break;
      end = last;
    }
  return text.substr(begin, end - begin);
}

std::vector<std::string_view> lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> out;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t size = character_size(text, at);
    const std::uint32_t c = character_at(text, at);
    const bool ends =
        (c >= 10 && c <= 13) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
    std::size_t next = at + size;
    if (ends) {
      if (c == '\r' && next < text.size() && text[next] == '\n')
        ++next;
      out.push_back(text.substr(begin, (keep_ends ? next : at) - begin));
      begin = next;
    }
    at = next;
  }
  if (begin < text.size())
    out.push_back(text.substr(begin));
  return out;
}

std::vector<std::string_view> words(std::string_view text, std::int64_t most, bool from_right) {
  std::vector<std::string_view> out;
  text = stripped(text, from_right ? Side::right : Side::left, true, {});
  while (!text.empty()) {
    std::size_t cut = text.npos;
    if (most < 0 || std::int64_t(out.size()) < most) {
      if (from_right) {
        for (std::size_t at = text.size(); at-- > 0;)
          if ((static_cast<unsigned char>(text[at]) & 0xc0) != 0x80 &&
              space(character_at(text, at))) {
            cut = at;
            break;
          }
      } else {
        for (std::size_t at = 0; at < text.size() && cut == text.npos;
             at += character_size(text, at))
          if (space(character_at(text, at)))
            cut = at;
      }
    }
    if (cut == text.npos) { // the last word, or the rest as it is
      out.push_back(text);
      break;
    }
    const std::size_t after = cut + character_size(text, cut);
    out.push_back(from_right ? text.substr(after) : text.substr(0, cut));
    text = stripped(from_right ? text.substr(0, cut) : text.substr(after),
                    from_right ? Side::right : Side::left, true, {});
  }
  if (from_right)
    std::reverse(out.begin(), out.end());
  return out;
}

} // namespace bitlathe::jinja
