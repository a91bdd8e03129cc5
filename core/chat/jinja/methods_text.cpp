// SPDX-License-Identifier: Apache-2.0
// Methods of texts, as Python's str has them.
#include "core/chat/jinja/objects.h"
#include "core/chat/jinja/text.h"

#include <algorithm>
#include <optional>

namespace bitlathe::jinja {
namespace {

using Table = std::unordered_map<std::string, FilterFunction>;
using A = Arguments;

Value strip(Interpreter& at, const Value& self, A& a, Side side) {
  const Bound bound("strip", a, {"chars"});
  if (bound.given(0)) {
    at.budget().step(self.text().size() / 64 * (bound.text(0).size() / 64 + 1));
    return std::string(stripped(self.text(), side, false, bound.text(0)));
  }
  return make_text(std::string(stripped(self.text(), side, true, {})), at.budget());
}

Value list_of(const std::vector<std::string_view>& parts, Interpreter& at) {
  std::vector<Value> out;
  for (const std::string_view part : parts) {
    at.budget().items(2);
    out.push_back(make_text(std::string(part), at.budget()));
  }
  return make_list(std::move(out), at.budget());
}

Value split(Interpreter& at, const Value& self, A& a, bool from_right) {
  const Bound bound(from_right ? "rsplit" : "split", a, {"sep", "maxsplit"});
  const std::int64_t most = bound.integer(1, -1);
  const std::string_view text = self.text();
  if (!bound.given(0)) {
    at.budget().items(text.size() / 2);
    return list_of(words(text, most, from_right), at);
  }
  const std::string& by = bound.text(0);
  if (by.empty())
    fail("empty separator");
  std::vector<std::string_view> parts;
  if (from_right && most >= 0) {
    std::string_view rest = text;
    while (std::int64_t(parts.size()) < most) {
      at.budget().step(rest.size() / 64 + 1);
      const std::size_t cut = find_last_in(rest, by);
      if (cut == rest.npos)
        break;
      parts.push_back(rest.substr(cut + by.size()));
      rest = rest.substr(0, cut);
    }
    parts.push_back(rest);
    std::reverse(parts.begin(), parts.end());
    return list_of(parts, at);
  }
  std::size_t begin = 0;
  for (std::size_t cut; (most < 0 || std::int64_t(parts.size()) < most) &&
                        (cut = find_in(text, by, begin)) != text.npos;
       begin = cut + by.size()) {
    at.budget().items(1);
    parts.push_back(text.substr(begin, cut - begin));
  }
  parts.push_back(text.substr(begin));
  return list_of(parts, at);
}

Value replace(Interpreter& at, const Value& self, A& a) {
  const Bound bound("replace", a, {"old", "new", "count"}, 2);
  const std::string &from = bound.text(0), &to = bound.text(1);
  std::int64_t left = bound.integer(2, -1);
  const std::string_view text = self.text();
  std::string out;
  const auto add = [&](std::string_view part) {
    at.budget().bytes(part.size());
    out += part;
  };
  if (from.empty()) { // between all characters
    std::size_t i = 0;
    while (left != 0) {
      --left;
      add(to);
      if (i >= text.size())
        return out;
      const std::size_t size = character_size(text, i);
      add(text.substr(i, size));
      i += size;
    }
    add(text.substr(i));
    return out;
  }
  std::size_t begin = 0;
  for (std::size_t found; left != 0 && (found = find_in(text, from, begin)) != text.npos; --left) {
    at.budget().step();
    add(text.substr(begin, found - begin));
    add(to);
    begin = found + from.size();
  }
  add(text.substr(begin));
  return out;
}

/// The part [start, stop) that find, count, startswith look at; nullopt when it lies outside.
std::optional<std::pair<std::string_view, std::size_t>> window(const Value& self,
                                                               const Bound& bound) {
  const std::string_view text = self.text();
  if (!bound.given(1) && !bound.given(2))
    return std::pair(text, std::size_t(0));
  const auto size = std::int64_t(text_length(text));
  std::int64_t start = bound.given(1) ? bound.integer(1, 0) : 0;
  std::int64_t stop = bound.given(2) ? bound.integer(2, size) : size;
  if (start < 0)
    start = std::max<std::int64_t>(start + size, 0);
  if (stop < 0)
    stop = std::max<std::int64_t>(stop + size, 0);
  stop = std::min(stop, size);
  if (start > stop)
    return std::nullopt;
  const std::size_t from = byte_of(text, std::size_t(start)), to = byte_of(text, std::size_t(stop));
  return std::pair(text.substr(from, to - from), std::size_t(start));
}

Value find(Interpreter& at, const Value& self, A& a, bool last, bool must) {
  const Bound bound(last ? "rfind" : "find", a, {"sub", "start", "end"}, 1);
  at.budget().step(self.text().size() / 64 + 1);
  const std::string& what = bound.text(0);
  if (const auto part = window(self, bound)) {
    const std::size_t found = last ? find_last_in(part->first, what) : find_in(part->first, what);
    if (found != std::string_view::npos)
      return std::int64_t(text_length(part->first.substr(0, found)) + part->second);
  }
  if (must)
    fail("substring not found");
  return -1;
}

Value count(Interpreter& at, const Value& self, A& a) {
  const Bound bound("count", a, {"sub", "start", "end"}, 1);
  const auto part = window(self, bound);
  if (!part)
    return 0;
  const std::string& what = bound.text(0);
  if (what.empty())
    return std::int64_t(text_length(part->first) + 1);
  std::int64_t found = 0;
  for (std::size_t i = 0; (i = find_in(part->first, what, i)) != std::string_view::npos;
       i += what.size()) {
    at.budget().step();
    ++found;
  }
  return found;
}

Value begins(Interpreter& at, const Value& self, A& a, bool at_end) {
  const Bound bound(at_end ? "endswith" : "startswith", a, {"prefix", "start", "end"}, 1);
  const auto part = window(self, bound);
  std::vector<Value> any{bound[0]};
  if (bound[0].is_sequence() && bound[0].sequence().kind == Sequence::Kind::tuple)
    any = items_of(bound[0], at.budget());
  for (const Value& one : any) {
    if (one.is_undefined())
      fail(one.why_undefined());
    if (!one.is_text())
      fail("startswith and endswith need a text or a tuple of texts, not " + one.type_name());
    if (!part || one.text().size() > part->first.size())
      continue;
    const std::size_t from = at_end ? part->first.size() - one.text().size() : 0;
    if (part->first.substr(from, one.text().size()) == one.text())
      return true;
  }
  return false;
}

Value pad(Interpreter& at, const Value& self, A& a, int where) {
  const Bound bound("center", a, {"width", "fillchar"}, 1);
  const std::string& text = self.text();
  const std::string fill = bound.has(1) ? bound.text(1) : " ";
  if (text_length(fill) != 1)
    fail("The fill character must be exactly one character long");
  const auto size = std::int64_t(text_length(text));
  const std::int64_t width = std::max(bound.integer(0, 0), size);
  at.budget().bytes(std::uint64_t(width) > (std::uint64_t(1) << 32) ? std::uint64_t(width)
                                                                    : std::uint64_t(width) * 4);
  const std::int64_t both = width - size;
  // Python puts the odd one on the left when the width is odd.
  const std::int64_t left = where < 0 ? 0 : where > 0 ? both : both / 2 + (both & width & 1);
  std::string out;
  for (std::int64_t i = 0; i < left; ++i)
    out += fill;
  out += text;
  for (std::int64_t i = left; i < both; ++i)
    out += fill;
  return out;
}

Value zfill(Interpreter& at, const Value& self, A& a) {
  const Bound bound("zfill", a, {"width"}, 1);
  const std::string& text = self.text();
  const std::int64_t more = bound.integer(0, 0) - std::int64_t(text_length(text));
  if (more <= 0)
    return text;
  at.budget().bytes(std::uint64_t(more) + text.size());
  const bool sign = !text.empty() && (text[0] == '-' || text[0] == '+');
  return text.substr(0, sign) + std::string(std::size_t(more), '0') + text.substr(sign);
}

Value join(Interpreter& at, const Value& self, A& a) {
  const Bound bound("join", a, {"iterable"}, 1);
  std::string out;
  std::int64_t i = 0;
  for (const Value& item : items_of(bound[0], at.budget())) {
    if (!item.is_text())
      fail("sequence item " + std::to_string(i) + ": expected str instance, " + item.type_name() +
           " found");
    at.budget().bytes(item.text().size() + self.text().size());
    if (i++ > 0)
      out += self.text();
    out += item.text();
  }
  return out;
}

Value partition(Interpreter& at, const Value& self, A& a, bool last) {
  const Bound bound(last ? "rpartition" : "partition", a, {"sep"}, 1);
  const std::string &text = self.text(), &by = bound.text(0);
  if (by.empty())
    fail("empty separator");
  const std::size_t cut = last ? find_last_in(text, by) : find_in(text, by);
  at.budget().bytes(text.size() * 2);
  if (cut == text.npos)
    return last ? make_tuple({"", "", text}, at.budget()) : make_tuple({text, "", ""}, at.budget());
  return make_tuple({text.substr(0, cut), by, text.substr(cut + by.size())}, at.budget());
}

template <class Test> Value all_are(const Value& self, Test test) {
  const std::string& text = self.text();
  for (std::size_t i = 0; i < text.size(); i += character_size(text, i))
    if (!test(character_at(text, i)))
      return false;
  return !text.empty();
}

Value cased(Interpreter& at, const Value& self, const char* name) {
  A none;
  return find_test(name)(at, self, none);
}

Value swapcase(Interpreter& at, const Value& self) {
  std::string out;
  const std::string_view text = self.text();
  for (std::size_t i = 0; i < text.size(); i += character_size(text, i)) {
    const auto one = text.substr(i, character_size(text, i));
    out += lower_case(character_at(text, i)) ? upper(one) : lower(one);
  }
  return make_text(std::move(out), at.budget());
}

Value remove_end(Interpreter& at, const Value& self, A& a, bool at_end) {
  const Bound bound(at_end ? "removesuffix" : "removeprefix", a, {"text"}, 1);
  const std::string &text = self.text(), &end = bound.text(0);
  if (end.size() > text.size() ||
      text.compare(at_end ? text.size() - end.size() : 0, end.size(), end) != 0)
    return self;
  return make_text(at_end ? text.substr(0, text.size() - end.size()) : text.substr(end.size()),
                   at.budget());
}

Value expandtabs(Interpreter& at, const Value& self, A& a) {
  const std::int64_t size = Bound("expandtabs", a, {"tabsize"}).integer(0, 8);
  std::string out;
  std::int64_t column = 0;
  for (const char c : self.text()) {
    if (c != '\t') {
      at.budget().bytes(1);
      out += c;
      column =
          c == '\n' || c == '\r' ? 0 : column + ((static_cast<unsigned char>(c) & 0xc0) != 0x80);
    } else if (size > 0) {
      const std::int64_t blanks = size - column % size;
      at.budget().bytes(std::uint64_t(blanks));
      out.append(std::size_t(blanks), ' ');
      column += blanks;
    }
  }
  return out;
}

#define METHOD(name, expression)                                                                   \
  {                                                                                                \
    name, [](Interpreter& at, const Value& self, A& a) -> Value {                                  \
      (void)at, (void)a;                                                                           \
      return expression;                                                                           \
    }                                                                                              \
  }

const Table& table() {
  static const Table all{
      METHOD("upper", make_text(upper(self.text()), at.budget())),
      METHOD("lower", make_text(lower(self.text()), at.budget())),
      METHOD("casefold", make_text(lower(self.text()), at.budget())),
      METHOD("title", make_text(title(self.text()), at.budget())),
      METHOD("capitalize", make_text(capitalized(self.text()), at.budget())),
      METHOD("swapcase", swapcase(at, self)),
      METHOD("strip", strip(at, self, a, Side::both)),
      METHOD("lstrip", strip(at, self, a, Side::left)),
      METHOD("rstrip", strip(at, self, a, Side::right)),
      METHOD("split", split(at, self, a, false)),
      METHOD("rsplit", split(at, self, a, true)),
      METHOD("splitlines",
             list_of(lines(self.text(), Bound("splitlines", a, {"keepends"}).truth(0, false)), at)),
      METHOD("replace", replace(at, self, a)),
      METHOD("find", find(at, self, a, false, false)),
      METHOD("rfind", find(at, self, a, true, false)),
      METHOD("index", find(at, self, a, false, true)),
      METHOD("rindex", find(at, self, a, true, true)),
      METHOD("count", count(at, self, a)),
      METHOD("startswith", begins(at, self, a, false)),
      METHOD("endswith", begins(at, self, a, true)),
      METHOD("removeprefix", remove_end(at, self, a, false)),
      METHOD("removesuffix", remove_end(at, self, a, true)),
      METHOD("join", join(at, self, a)),
      METHOD("partition", partition(at, self, a, false)),
      METHOD("rpartition", partition(at, self, a, true)),
      METHOD("center", pad(at, self, a, 0)),
      METHOD("ljust", pad(at, self, a, -1)),
      METHOD("rjust", pad(at, self, a, 1)),
      METHOD("zfill", zfill(at, self, a)),
      METHOD("expandtabs", expandtabs(at, self, a)),
      METHOD("format", make_text(brace_format(at, self.text(), a), at.budget())),
      METHOD("isspace", all_are(self, space)),
      METHOD("isalpha", all_are(self, alphabetic)),
      METHOD("isdecimal", all_are(self, decimal)),
      METHOD("isdigit", all_are(self, digit)),
      METHOD("isnumeric", all_are(self, numeric)),
      METHOD("isalnum", all_are(self, [](std::uint32_t c) { return alphabetic(c) || numeric(c); })),
      METHOD("isascii",
             self.text().empty() || all_are(self, [](std::uint32_t c) { return c < 128; }).truth()),
      METHOD("isprintable", self.text().empty() || all_are(self, printable).truth()),
      METHOD("isupper", cased(at, self, "upper")),
      METHOD("islower", cased(at, self, "lower")),
      METHOD("istitle",
             self.text() == title(self.text()) && upper(self.text()) != lower(self.text())),
      METHOD("isidentifier",
             all_are(self, [](std::uint32_t c) { return c == '_' || alphabetic(c) || digit(c); })
                     .truth() &&
                 !decimal(character_at(self.text(), 0))),
  };
  return all;
}

#undef METHOD

} // namespace

FilterFunction find_text_method(const std::string& name) {
  const auto it = table().find(name);
  return it == table().end() ? nullptr : it->second;
}

} // namespace bitlathe::jinja
