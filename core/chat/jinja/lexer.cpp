// SPDX-License-Identifier: Apache-2.0
#include "core/chat/jinja/lexer.h"

#include "core/chat/jinja/text.h"
#include "core/chat/jinja/value.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace bitlathe::jinja {
namespace {

/// CR LF and CR become LF; one newline at the end goes.
std::string normalized(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n')
        ++i;
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n')
    out.pop_back();
  return out;
}

bool word_character(std::uint32_t c) {
  return c == '_' ||
         (c < 0x80 ? (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
                   : alphabetic(c) || numeric(c));
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normalized(source)), text_(source_) {}

  std::vector<Token> run() {
    while (at_ < text_.size())
      root();
    push(Token::Kind::end);
    return std::move(out_);
  }

 private:
  void push(Token::Kind kind, std::string text = {}) {
    Token token;
    token.kind = kind;
    token.line = line_;
    token.text = std::move(text);
    out_.push_back(std::move(token));
  }
  bool starts(std::string_view with, std::size_t at) const {
    return text_.substr(at, with.size()) == with;
  }
  bool starts(std::string_view with) const { return starts(with, at_); }
  /// Moves to `to`, counting lines and noting whether a new one begins there.
  void advance(std::size_t to) {
    line_ += int(
        std::count(text_.begin() + std::ptrdiff_t(at_), text_.begin() + std::ptrdiff_t(to), '\n'));
    line_starting_ = to > at_ && text_[to - 1] == '\n';
    at_ = to;
  }
  std::size_t after_spaces(std::size_t at) const {
    while (at < text_.size() && space(character_at(text_, at)))
      at += character_size(text_, at);
    return at;
  }

  /// Where the tag that ends with `closer` ("%}") at `at` ends, white space taken in as its sign
  /// says; npos when none is there.
  std::size_t tag_end(std::size_t at, std::string_view closer, bool trims) const {
    if (starts("-", at) && starts(closer, at + 1))
      return after_spaces(at + 1 + closer.size());
    if (trims && starts("+", at) && starts(closer, at + 1))
      return at + 1 + closer.size();
    if (!starts(closer, at))
      return std::string_view::npos;
    const std::size_t end = at + closer.size();
    return trims && starts("\n", end) ? end + 1 : end;
  }

  /// Text before a tag, cut as the tag's sign and lstrip_blocks say.
  void data(std::string_view text, char sign, bool variable) {
    std::string_view kept = text;
    if (sign == '-') {
      kept = stripped(text, Side::right, true, {});
    } else if (sign != '+' && !variable) {
      const std::size_t newline = text.rfind('\n');
      const std::size_t begin = newline == text.npos ? 0 : newline + 1;
      if ((begin > 0 || line_starting_) &&
          stripped(text.substr(begin), Side::left, true, {}).empty())
        kept = text.substr(0, begin);
    }
    if (!kept.empty())
      push(Token::Kind::data, std::string(kept));
  }
  char sign_at(std::size_t at) const {
    return at < text_.size() && (text_[at] == '-' || text_[at] == '+') ? text_[at] : ' ';
  }

  /// After "{%" and its sign: the end of a raw tag, or npos.
  std::size_t raw_begin(std::size_t at) const {
    at = after_spaces(at);
    if (!starts("raw", at))
      return std::string_view::npos;
    at = after_spaces(at + 3);
    if (starts("-%}", at))
      return after_spaces(at + 3);
    return starts("%}", at) ? at + 2 : std::string_view::npos;
  }

  void root() {
    std::size_t open = at_;
    for (;; ++open) {
      open = text_.find('{', open);
      if (open == text_.npos || open + 1 >= text_.size()) {
        push(Token::Kind::data, std::string(text_.substr(at_)));
        advance(text_.size());
        return;
      }
      if (text_[open + 1] == '%' || text_[open + 1] == '{' || text_[open + 1] == '#')
        break;
    }
    const char type = text_[open + 1];
    const char sign = sign_at(open + 2);
    const std::size_t inside = open + 2 + (sign != ' ');
    data(text_.substr(at_, open - at_), sign, type == '{');
    advance(open);
    if (type == '#')
      return comment(inside);
    if (const std::size_t end = type == '%' ? raw_begin(inside) : text_.npos; end != text_.npos)
      return raw(end);
    push(type == '%' ? Token::Kind::block_begin : Token::Kind::variable_begin);
    advance(inside);
    tag(type == '%');
  }

  void comment(std::size_t inside) {
    const std::size_t close = text_.find("#}", inside);
    if (close == text_.npos)
      fail("A comment {# is never closed", line_);
    const bool sign = close > inside && sign_at(close - 1) != ' ';
    advance(tag_end(sign ? close - 1 : close, "#}", true));
  }

  void raw(std::size_t begin) {
    const int line = line_;
    advance(begin);
    for (std::size_t open = text_.find("{%", begin); open != text_.npos;
         open = text_.find("{%", open + 1)) {
      const char sign = sign_at(open + 2);
      std::size_t at = after_spaces(open + 2 + (sign != ' '));
      if (!starts("endraw", at))
        continue;
      at = after_spaces(at + 6);
      const std::size_t end = tag_end(at, "%}", true);
      if (end == text_.npos)
        continue;
      data(text_.substr(at_, open - at_), sign, false);
      advance(end);
      return;
    }
    fail("{% raw %} is never closed", line);
  }

  void tag(bool block) {
    const int opened = line_;
    std::string open; // brackets
    while (at_ < text_.size()) {
      if (open.empty()) {
        const std::size_t end = tag_end(at_, block ? "%}" : "}}", block);
        if (end != text_.npos) {
          push(block ? Token::Kind::block_end : Token::Kind::variable_end);
          return advance(end);
        }
      }
      const std::uint32_t c = character_at(text_, at_);
      if (space(c))
        advance(after_spaces(at_));
      else if (is_digit(text_[at_]))
        number();
      else if (word_character(c))
        name();
      else if (c == '\'' || c == '"')
        string();
      else
        op(open);
    }
    fail(block ? "A tag {% is never closed" : "A tag {{ is never closed", opened);
  }

  void name() {
    std::size_t end = at_;
    while (end < text_.size() && word_character(character_at(text_, end)))
      end += character_size(text_, end);
    push(Token::Kind::name, std::string(text_.substr(at_, end - at_)));
    advance(end);
  }

  /// Digits with single underscores between them.
  std::size_t digits(std::size_t at, const char* known) const {
    const auto one = [&](std::size_t i) {
      return i < text_.size() && std::string_view(known).find(text_[i]) != std::string_view::npos;
    };
    while (one(at) || (starts("_", at) && one(at + 1)))
      ++at;
    return at;
  }
  std::string plain(std::size_t end) const {
    std::string out(text_.substr(at_, end - at_));
    out.erase(std::remove(out.begin(), out.end(), '_'), out.end());
    return out;
  }

  void number() {
    constexpr const char* ten = "0123456789";
    const std::size_t whole = digits(at_, ten);
    std::size_t end = whole;
    if (at_ == 0 || text_[at_ - 1] != '.') {
      if (starts(".", end) && end + 1 < text_.size() && is_digit(text_[end + 1]))
        end = digits(end + 1, ten);
      if (starts("e", end) || starts("E", end)) {
        const std::size_t power = end + 1 + (starts("+", end + 1) || starts("-", end + 1));
        if (power < text_.size() && is_digit(text_[power]))
          end = digits(power, ten);
      }
    }
    const bool real = end != whole;
    int base = 10;
    std::size_t from = 0;
    if (!real && text_[at_] == '0' && at_ + 1 < text_.size()) {
      const char x = char(text_[at_ + 1] | 32);
      base = x == 'x' ? 16 : x == 'o' ? 8 : x == 'b' ? 2 : 10;
      if (base != 10) {
        from = 2;
        end = digits(at_ + 2, base == 16  ? "0123456789abcdefABCDEF"
                              : base == 8 ? "01234567"
                                          : "01");
      }
    }
    const std::string text = plain(end);
    Token token;
    token.line = line_;
    token.kind = real ? Token::Kind::number : Token::Kind::integer;
    const char *first = text.data() + from, *last = text.data() + text.size();
    const auto read = real ? std::from_chars(first, last, token.number)
                           : std::from_chars(first, last, token.integer, base);
    if (read.ec != std::errc() || read.ptr != last || last == first)
      fail("The number " + text + " cannot be read (integers have 64 bits here)", line_);
    if (!real && base == 10 && text.size() > 1 && text[0] == '0' &&
        text.find_first_not_of('0') != text.npos)
      fail("The number " + text + " begins with a zero", line_);
    out_.push_back(std::move(token));
    advance(end);
  }

  std::uint32_t hex(std::size_t& at, int count) const {
    std::uint32_t value = 0;
    for (int i = 0; i < count; ++i, ++at) {
      const char c = at < text_.size() ? text_[at] : ' ';
      const int d = is_digit(c)            ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
      if (d < 0)
        fail("A text has an escape \\x, \\u or \\U without its digits", line_);
      value = value << 4 | std::uint32_t(d);
    }
    return value;
  }

  void string() {
    const char quote = text_[at_];
    const int line = line_;
    std::string value;
    std::size_t at = at_ + 1;
    std::uint32_t high = 0; // half of a character written as two \u escapes
    while (at < text_.size() && text_[at] != quote) {
      if (text_[at] != '\\') {
        value += text_[at++];
        continue;
      }
      const char c = at + 1 < text_.size() ? text_[at + 1] : ' ';
      at += 2;
      constexpr std::string_view from = "\\'\"abfnrtv", to = "\\'\"\a\b\f\n\r\t\v";
      if (const std::size_t simple = from.find(c); simple != from.npos) {
        value += to[simple];
      } else if (c == '\n') {
        // a continued line
      } else if (c >= '0' && c <= '7') {
        std::uint32_t octal = std::uint32_t(c - '0');
        for (int i = 0; i < 2 && at < text_.size() && text_[at] >= '0' && text_[at] <= '7'; ++i)
          octal = octal * 8 + std::uint32_t(text_[at++] - '0');
        value += utf8(octal);
      } else if (c == 'x' || c == 'u' || c == 'U') {
        std::uint32_t code = hex(at, c == 'x' ? 2 : c == 'u' ? 4 : 8);
        if (code >= 0xd800 && code < 0xdc00 && starts("\\u", at)) {
          high = code;
          at += 2;
          code = hex(at, 4);
          code = code >= 0xdc00 && code < 0xe000 ? 0x10000 + ((high & 0x3ff) << 10) + (code & 0x3ff)
                                                 : 0xd800;
        }
        if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
          fail("A text has an escape that is no character", line);
        value += utf8(code);
      } else if (c == 'N') {
        fail("Characters by name (\\N{...}) are not supported in templates", line);
      } else {
        value += '\\';
        --at; // the character itself follows
      }
    }
    if (at >= text_.size())
      fail("A text is never closed", line);
    push(Token::Kind::text, std::move(value));
    advance(at + 1);
  }

  void op(std::string& open) {
    static constexpr std::array<std::string_view, 7> twice{"//", "**", "==", "!=", ">=", "<=", ""};
    for (const std::string_view two : twice)
      if (!two.empty() && starts(two)) {
        push(Token::Kind::op, std::string(two));
        return advance(at_ + 2);
      }
    const char c = text_[at_];
    if (std::string_view("+-/*%~[](){}><=.:|,;").find(c) == std::string_view::npos)
      fail("The character " + std::string(text_.substr(at_, character_size(text_, at_))) +
               " has no meaning inside a tag",
           line_);
    if (c == '(' || c == '[' || c == '{')
      open += c == '(' ? ')' : c == '[' ? ']' : '}';
    if (c == ')' || c == ']' || c == '}') {
      if (open.empty() || open.back() != c)
        fail("A bracket " + std::string(1, c) + " closes nothing", line_);
      open.pop_back();
    }
    push(Token::Kind::op, std::string(1, c));
    advance(at_ + 1);
  }

  std::string source_;
  std::string_view text_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> out_;
};

} // namespace

std::vector<Token> tokenize_template(std::string_view source) { return Lexer(source).run(); }

} // namespace bitlathe::jinja
