// SPDX-License-Identifier: Apache-2.0
#include "core/text/regex.h"

#include <QRegularExpression>
#include <QString>

namespace bitlathe::text {

struct Regex::Compiled {
  QRegularExpression expression;
};

namespace {

// PCRE2's \s also holds U+180E, and its \w lacks marks and connectors.
constexpr std::string_view space_set = "\\p{Z}\\t-\\r\\x{85}";
constexpr std::string_view word_set = "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}";

Error bad_pattern(const std::string& pattern, const std::string& why, const std::string& where) {
  return {"unsupported", "The pattern " + pattern + " cannot be used: " + why, where};
}

} // namespace

Result<std::string> to_pcre(const std::string& pattern, const std::string& where) {
  std::string out;
  int depth = 0; // of character classes: Oniguruma nests them
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c != '\\') {
      if (c == '[') {
        const bool posix = depth > 0 && i + 1 < pattern.size() && pattern[i + 1] == ':';
        if (depth > 0 && !posix)
          return bad_pattern(pattern, "it nests character classes", where);
        if (posix) {
          const auto end = pattern.find(":]", i);
          if (end == std::string::npos)
            return bad_pattern(pattern, "an unfinished [: class", where);
          out.append(pattern, i, end + 2 - i);
          i = end + 1;
          continue;
        }
        ++depth;
        out += c;
        // A bracket right at the front of a class is a literal to both.
        if (i + 1 < pattern.size() && pattern[i + 1] == '^')
          out += pattern[++i];
        if (i + 1 < pattern.size() && pattern[i + 1] == ']') {
          out += "\\]";
          ++i;
        }
        continue;
      }
      if (c == ']' && depth > 0)
        --depth;
      if (c == '&' && depth > 0 && i + 1 < pattern.size() && pattern[i + 1] == '&')
        return bad_pattern(pattern, "it intersects character classes", where);
      out += c;
      continue;
    }
    if (++i == pattern.size())
      return bad_pattern(pattern, "it ends in a backslash", where);
    const char escaped = pattern[i];
    switch (escaped) {
    case 's':
    case 'w': {
      const auto set = escaped == 's' ? space_set : word_set;
      out += depth > 0 ? std::string(set) : "[" + std::string(set) + "]";
      break;
    }
    case 'S':
    case 'W': {
      const auto set = escaped == 'S' ? space_set : word_set;
      if (depth > 0 && escaped == 'W')
        return bad_pattern(pattern, "\\W inside a character class", where);
      out += depth > 0 ? "\\S" : "[^" + std::string(set) + "]";
      break;
    }
    case 'h':
    case 'H':
    case 'b':
    case 'B':
    case 'R':
    case 'X':
    case 'K':
    case 'G':
      return bad_pattern(pattern, std::string("\\") + escaped + " is not supported", where);
    default:
      out += '\\';
      out += escaped;
    }
  }
  return out;
}

Result<Regex> Regex::compile(const std::string& pattern, const std::string& where) {
  TRY_ASSIGN(const std::string pcre, to_pcre(pattern, where));
  auto compiled = std::make_shared<Compiled>();
  // In Ruby syntax ^ and $ always mean line ends.
  compiled->expression = QRegularExpression(QString::fromStdString(pcre),
                                            QRegularExpression::UseUnicodePropertiesOption |
                                                QRegularExpression::MultilineOption |
                                                QRegularExpression::DontCaptureOption);
  if (!compiled->expression.isValid())
    return bad_pattern(pattern, compiled->expression.errorString().toStdString(), where);
  compiled->expression.optimize();
  Regex regex;
  regex.compiled_ = std::move(compiled);
  return regex;
}

std::vector<Span> Regex::cut(std::string_view text) const {
  const QString wide = QString::fromUtf8(text.data(), qsizetype(text.size()));
  std::vector<Span> spans;
  std::size_t bytes = 0; // of UTF-8, up to UTF-16 unit `units`
  qsizetype units = 0;
  const auto advance = [&](qsizetype to) {
    for (; units < to; ++units) {
      const QChar c = wide[units];
      bytes += c.unicode() < 0x80 ? 1 : c.unicode() < 0x800 || c.isSurrogate() ? 2 : 3;
    }
    return bytes;
  };
  std::size_t end = 0; // of the last span
  for (auto matches = compiled_->expression.globalMatch(wide); matches.hasNext();) {
    const auto match = matches.next();
    if (match.capturedLength() == 0)
      continue;
    const std::size_t begin = advance(match.capturedStart());
    if (begin > end)
      spans.push_back({end, begin, false});
    end = advance(match.capturedEnd());
    spans.push_back({begin, end, true});
  }
  if (end < text.size())
    spans.push_back({end, text.size(), false});
  return spans;
}

std::vector<Span> cut_literal(std::string_view text, std::string_view literal) {
  std::vector<Span> spans;
  std::size_t end = 0;
  while (!literal.empty()) {
    const auto begin = text.find(literal, end);
    if (begin == std::string_view::npos)
      break;
    if (begin > end)
      spans.push_back({end, begin, false});
    end = begin + literal.size();
    spans.push_back({begin, end, true});
  }
  if (end < text.size())
    spans.push_back({end, text.size(), false});
  return spans;
}

} // namespace bitlathe::text
