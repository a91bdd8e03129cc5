// SPDX-License-Identifier: Apache-2.0
#include "core/text/regex_syntax.h"

#include "core/text/unicode.h"

#include <cctype>
#include <map>

namespace bitlathe::text {

namespace {

// PCRE2's \s also holds U+180E, and its \w lacks marks and connectors.
constexpr std::string_view space_set = "\\p{Z}\\t-\\r\\x{85}";
constexpr std::string_view word_set =
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24B6}-\\x{24E9}\\x{1F130}-\\x{1F149}\\x{1F150}-\\x{1F169}"
    "\\x{1F170}-\\x{1F189}";
constexpr std::string_view hex_set = "0-9A-Fa-f";
constexpr std::string_view ascii_hex = "0123456789abcdefABCDEF";

/// One set of characters, in parts that PCRE2 can say: `items` for the inside of a class, and
/// expressions for one character each that are no plain class.
struct CharSet {
  std::string items;
  std::vector<std::string> alternatives;
};

class Translator {
 public:
  Translator(const std::string& pattern, RegexFlavor flavor, const std::string& where)
      : in_(pattern), flavor_(flavor), where_(where) {}

  Result<std::string> run() {
    while (at_ < in_.size())
      TRY(item());
    if (!groups_.empty())
      return bad("a group is not closed");
    return std::move(out_);
  }

 private:
  Error bad(const std::string& why) const {
    return {"unsupported", "The pattern " + in_ + " cannot be used: " + why, where_};
  }
  bool next_is(std::string_view text) const { return in_.compare(at_, text.size(), text) == 0; }
  void atom(const std::string& text) {
    atom_ = out_.size();
    out_ += text;
  }

  Result<void> item() {
    const char c = in_[at_];
    switch (c) {
    case '\\':
      return escape();
    case '[': {
      TRY_ASSIGN(const auto set, char_class(0));
      atom(set);
      return {};
    }
    case '(':
      if (groups_.size() > 200)
        return bad("its groups are nested too deeply");
      groups_.push_back(out_.size());
      out_ += c;
      ++at_;
      if (next_is("?#")) { // a comment
        const auto end = in_.find(')', at_);
        if (end == std::string::npos)
          return bad("a comment is not closed");
        out_.pop_back();
        groups_.pop_back();
        at_ = end + 1;
      } else if (next_is("?")) {
        // Everything up to the start of the group's content is the same.
        out_ += in_[at_++];
        while (at_ < in_.size() && (std::isalpha(static_cast<unsigned char>(in_[at_])) ||
                                    in_[at_] == '-' || in_[at_] == '^'))
          out_ += in_[at_++];
      }
      return {};
    case ')':
      if (groups_.empty())
        return bad("a group is closed that is not open");
      atom_ = groups_.back();
      groups_.pop_back();
      out_ += c;
      ++at_;
      return {};
    case '{':
      return repeat();
    case '*':
    case '+':
    case '?':
    case '|':
    case '^':
    case '$':
      out_ += c;
      ++at_;
      return {};
    default: {
      const std::size_t size = std::min(char_bytes(c), in_.size() - at_);
      atom(in_.substr(at_, size));
      at_ += size;
      return {};
    }
    }
  }

  /// {n}, {n,}, {n,m}; anything else in braces is text.
  Result<void> repeat() {
    std::size_t end = at_ + 1;
    while (end < in_.size() &&
           (std::isdigit(static_cast<unsigned char>(in_[end])) || in_[end] == ','))
      ++end;
    const bool counted = end < in_.size() && in_[end] == '}' && end > at_ + 1;
    if (!counted || atom_ == std::string::npos) {
      atom("\\{");
      ++at_;
      return {};
    }
    std::string count = in_.substr(at_, end + 1 - at_);
    if (count == "{,}") {
      atom("\\{,\\}");
      at_ = end + 1;
      return {};
    }
    if (count[1] == ',') // {,n} starts at none
      count.insert(1, "0");
    out_ += count;
    at_ = end + 1;
    // To Oniguruma a + behind a count repeats it; to the others it makes it possessive.
    if (flavor_ == RegexFlavor::oniguruma && next_is("+")) {
      out_.insert(atom_, "(?:");
      out_ += ")";
    }
    return {};
  }

  /// What a backslash introduces, outside of classes.
  Result<void> escape() {
    if (at_ + 1 >= in_.size())
      return bad("it ends in a backslash");
    const char c = in_[at_ + 1];
    const std::string words(word_set);
    switch (c) {
    case 'b':
    case 'B': {
      at_ += 2;
      const std::string in = "[" + words + "]";
      const bool edge = c == 'b';
      atom("(?:(?<=" + in + ")(?" + (edge ? "!" : "=") + in + ")|(?<!" + in + ")(?" +
           (edge ? "=" : "!") + in + "))");
      return {};
    }
    case 'A':
    case 'Z':
    case 'z':
    case 'G':
      out_ += "\\";
      out_ += c;
      at_ += 2;
      return {};
    case 'R':
    case 'X':
    case 'K':
    case 'k':
    case 'g':
      if (c == 'K' || c == 'g' || c == 'k')
        return bad(std::string("\\") + c + " is not supported");
      atom(std::string("\\") + c);
      at_ += 2;
      return {};
    default:
      break;
    }
    if (c >= '1' && c <= '9')
      return bad("it refers back to a group");
    TRY_ASSIGN(const auto set, class_escape());
    atom(set.alternatives.empty() ? single(set.items) : set.alternatives[0]);
    return {};
  }

  /// One item of a class as an expression of its own.
  static std::string single(const std::string& items) {
    const bool bare =
        items.size() == 1 || (items.size() == 2 && items[0] == '\\') ||
        (items.size() > 3 && items.find('\\', 1) == std::string::npos && items.back() == '}');
    return bare && items != "-" ? items : "[" + items + "]";
  }

  /// An escape that stands for a set or a character, in a class or outside.
  Result<CharSet> class_escape() {
    if (at_ + 1 >= in_.size())
      return bad("it ends in a backslash");
    const char c = in_[at_ + 1];
    at_ += 2;
    const auto negated = [](std::string_view set) {
      return CharSet{{}, {"[^" + std::string(set) + "]"}};
    };
    switch (c) {
    case 's':
      return CharSet{std::string(space_set), {}};
    case 'S':
      return negated(space_set);
    case 'w':
      return CharSet{std::string(word_set), {}};
    case 'W':
      return negated(word_set);
    case 'd':
      return CharSet{"\\p{Nd}", {}};
    case 'D':
      return CharSet{"\\P{Nd}", {}};
    case 'h':
    case 'H':
      if (flavor_ == RegexFlavor::rust)
        return bad(std::string("\\") + c + " is not supported");
      return c == 'h' ? CharSet{std::string(hex_set), {}} : negated(hex_set);
    case 'p':
    case 'P':
      return property(c == 'P');
    case 'u':
    case 'U': {
      const std::size_t digits = c == 'u' ? 4 : 8;
      if (at_ < in_.size() && in_[at_] == '{') // PCRE2 knows \x{...}
        return hex_in_braces();
      const auto hex = in_.substr(at_, digits);
      if (hex.size() < digits || hex.find_first_not_of(ascii_hex) != std::string::npos)
        return bad("a damaged \\u");
      at_ += digits;
      return CharSet{"\\x{" + hex + "}", {}};
    }
    case 'x': {
      if (at_ < in_.size() && in_[at_] == '{')
        return hex_in_braces();
      const auto end = std::min(in_.find_first_not_of(ascii_hex, at_), at_ + 2);
      const auto hex = in_.substr(at_, std::min(end, in_.size()) - at_);
      at_ += hex.size();
      return CharSet{"\\x{" + (hex.empty() ? "0" : hex) + "}", {}};
    }
    case 'v':
      return CharSet{"\\x{B}", {}};
    case 't':
    case 'n':
    case 'r':
    case 'f':
    case 'a':
    case 'e':
      return CharSet{std::string("\\") + c, {}};
    case '0':
      return CharSet{"\\x{0}", {}};
    default:
      break;
    }
    if (std::isalnum(static_cast<unsigned char>(c)))
      return bad(std::string("\\") + c + " is not supported");
    if (static_cast<unsigned char>(c) >= 0x80) { // an escaped character beyond ASCII is itself
      --at_;
      const std::size_t size = std::min(char_bytes(c), in_.size() - at_);
      at_ += size;
      return CharSet{in_.substr(at_ - size, size), {}};
    }
    return CharSet{std::string("\\") + c, {}};
  }

  Result<CharSet> hex_in_braces() {
    const auto end = in_.find('}', at_);
    const auto hex = end == std::string::npos ? std::string() : in_.substr(at_ + 1, end - at_ - 1);
    if (hex.empty() || hex.size() > 8 || hex.find_first_not_of(ascii_hex) != std::string::npos)
      return bad("a damaged \\x{...}");
    at_ = end + 1;
    return CharSet{"\\x{" + hex + "}", {}};
  }

  Result<CharSet> property(bool negated) {
    std::string name;
    if (at_ < in_.size() && in_[at_] == '{') {
      const auto end = in_.find('}', at_);
      if (end == std::string::npos)
        return bad("an unfinished \\p{...}");
      name = in_.substr(at_ + 1, end - at_ - 1);
      at_ = end + 1;
    } else if (at_ < in_.size() && flavor_ == RegexFlavor::rust) {
      name = in_.substr(at_++, 1);
    }
    if (!name.empty() && name[0] == '^') {
      negated = !negated;
      name.erase(0, 1);
    }
    TRY_ASSIGN(const auto items, property_items(name));
    if (!negated)
      return CharSet{items, {}};
    if (items.compare(0, 3, "\\p{") == 0 && items.find('\\', 1) == std::string::npos)
      return CharSet{"\\P" + items.substr(2), {}};
    return CharSet{{}, {"[^" + items + "]"}};
  }

  Result<std::string> property_items(const std::string& name) const {
    // Names are compared without case, spaces, hyphens and underscores.
    std::string key;
    for (const char c : name)
      if (std::isalnum(static_cast<unsigned char>(c)) || c == '&' || c == '=')
        key += char(std::tolower(static_cast<unsigned char>(c)));
      else if (c != ' ' && c != '_' && c != '-')
        return bad("an unknown property \\p{" + name + "}");
    static const std::map<std::string, std::string> known{{"letter", "\\p{L}"},
                                                          {"uppercaseletter", "\\p{Lu}"},
                                                          {"lowercaseletter", "\\p{Ll}"},
                                                          {"titlecaseletter", "\\p{Lt}"},
                                                          {"modifierletter", "\\p{Lm}"},
                                                          {"otherletter", "\\p{Lo}"},
                                                          {"mark", "\\p{M}"},
                                                          {"nonspacingmark", "\\p{Mn}"},
                                                          {"spacingmark", "\\p{Mc}"},
                                                          {"enclosingmark", "\\p{Me}"},
                                                          {"number", "\\p{N}"},
                                                          {"decimalnumber", "\\p{Nd}"},
                                                          {"letternumber", "\\p{Nl}"},
                                                          {"othernumber", "\\p{No}"},
                                                          {"punctuation", "\\p{P}"},
                                                          {"connectorpunctuation", "\\p{Pc}"},
                                                          {"dashpunctuation", "\\p{Pd}"},
                                                          {"symbol", "\\p{S}"},
                                                          {"mathsymbol", "\\p{Sm}"},
                                                          {"currencysymbol", "\\p{Sc}"},
                                                          {"modifiersymbol", "\\p{Sk}"},
                                                          {"othersymbol", "\\p{So}"},
                                                          {"separator", "\\p{Z}"},
                                                          {"spaceseparator", "\\p{Zs}"},
                                                          {"other", "\\p{C}"},
                                                          {"control", "\\p{Cc}"},
                                                          {"format", "\\p{Cf}"},
                                                          {"alpha", "\\p{Alphabetic}\\p{M}"},
                                                          {"alphabetic", "\\p{Alphabetic}"},
                                                          {"upper", "\\p{Uppercase}"},
                                                          {"uppercase", "\\p{Uppercase}"},
                                                          {"lower", "\\p{Lowercase}"},
                                                          {"lowercase", "\\p{Lowercase}"},
                                                          {"alnum", "\\p{Alphabetic}\\p{M}\\p{Nd}"},
                                                          {"digit", "\\p{Nd}"},
                                                          {"xdigit", std::string(hex_set)},
                                                          {"punct", "\\p{P}\\p{S}"},
                                                          {"space", std::string(space_set)},
                                                          {"whitespace", std::string(space_set)},
                                                          {"word", std::string(word_set)},
                                                          {"blank", "\\p{Zs}\\t"},
                                                          {"cntrl", "\\p{Cc}"},
                                                          {"any", "\\p{Any}"},
                                                          {"ascii", "\\x{0}-\\x{7F}"},
                                                          {"emoji", "\\p{Emoji}"},
                                                          {"extendedpictographic", "\\p{ExtPict}"}};
    if (const auto it = known.find(key); it != known.end())
      return it->second;
    std::string script = key;
    for (const char* prefix : {"script=", "sc="})
      if (key.rfind(prefix, 0) == 0)
        script = key.substr(std::string_view(prefix).size());
    if (script != key && script.size() > 2)
      return "\\p{sc:" + script + "}";
    if (key.rfind("generalcategory=", 0) == 0 || key.rfind("gc=", 0) == 0)
      key.erase(0, key.find('=') + 1);
    if (!key.empty() && key.size() <= 2) { // a general category
      key[0] = char(std::toupper(static_cast<unsigned char>(key[0])));
      return "\\p{" + key + "}";
    }
    if (key.empty())
      return bad("an unknown property \\p{" + name + "}");
    return "\\p{sc:" + key + "}"; // PCRE2's bare name would mean the script's extensions too
  }

  /// [...] with nested classes and intersections, as an expression for one character.
  Result<std::string> char_class(int depth) {
    if (depth > 20)
      return bad("its character classes are nested too deeply");
    ++at_; // the bracket
    const bool negated = next_is("^");
    at_ += negated;
    std::vector<CharSet> parts(1); // intersected
    bool first = true;
    while (true) {
      if (at_ >= in_.size())
        return bad("a character class is not closed");
      const char c = in_[at_];
      CharSet& set = parts.back();
      if (c == ']' && !first) {
        ++at_;
        break;
      }
      if (c == '[' && next_is("[:")) {
        TRY(posix(set));
      } else if (c == '[') {
        TRY_ASSIGN(const auto nested, char_class(depth + 1));
        set.alternatives.push_back(nested);
      } else if (next_is("&&")) {
        at_ += 2;
        parts.emplace_back();
      } else if (c == '\\') {
        TRY_ASSIGN(const auto inner, class_escape());
        set.items += inner.items;
        set.alternatives.insert(set.alternatives.end(), inner.alternatives.begin(),
                                inner.alternatives.end());
      } else if (c == ']' || c == '^') { // literal: right at the front, or in the middle
        set.items += std::string("\\") + c;
        ++at_;
      } else {
        const std::size_t size = std::min(char_bytes(c), in_.size() - at_);
        set.items += in_.substr(at_, size);
        at_ += size;
      }
      first = false;
    }
    std::string out;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      std::string one = parts[i].items.empty() ? "" : "[" + parts[i].items + "]";
      if (!parts[i].alternatives.empty()) {
        std::string all;
        for (const auto& alternative : parts[i].alternatives)
          all += (all.empty() ? "" : "|") + alternative;
        one = "(?:" + (one.empty() ? all : one + "|" + all) + ")";
      }
      if (one.empty())
        return bad("an empty character class");
      out += i + 1 < parts.size() ? "(?=" + one + ")" : one;
    }
    if (!negated)
      return parts.size() == 1 ? out : "(?:" + out + ")";
    if (parts.size() == 1 && parts[0].alternatives.empty())
      return "[^" + parts[0].items + "]";
    return "(?:(?!" + out + ")[\\s\\S])";
  }

  Result<void> posix(CharSet& set) {
    const auto end = in_.find(":]", at_);
    if (end == std::string::npos)
      return bad("an unfinished [: class");
    std::string name = in_.substr(at_ + 2, end - at_ - 2);
    at_ = end + 2;
    const bool negated = !name.empty() && name[0] == '^';
    if (negated)
      name.erase(0, 1);
    TRY_ASSIGN(const auto items, property_items(name));
    if (negated)
      set.alternatives.push_back("[^" + items + "]");
    else
      set.items += items;
    return {};
  }

  const std::string& in_;
  const RegexFlavor flavor_;
  const std::string& where_;
  std::size_t at_ = 0;
  std::string out_;
  std::size_t atom_ = std::string::npos; ///< where the last repeatable thing starts in out_
  std::vector<std::size_t> groups_;      ///< where open groups start in out_
};

} // namespace

Result<std::string> to_pcre(const std::string& pattern, RegexFlavor flavor,
                            const std::string& where) {
  return Translator(pattern, flavor, where).run();
}

} // namespace bitlathe::text
