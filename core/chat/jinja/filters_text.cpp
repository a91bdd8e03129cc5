// SPDX-License-Identifier: Apache-2.0
// Filters that make texts. Most take any value and use its text.
#include "core/chat/jinja/objects.h"
#include "core/chat/jinja/text.h"

namespace bitlathe::jinja {
namespace {

using F = FilterFunction;

/// A text method under the filter's name, on the text of any value.
Value as_method(Interpreter& at, const Value& value, Arguments& arguments, const char* method) {
  return find_text_method(method)(at, value.is_text() ? value : Value(at.text(value)), arguments);
}

Value f_replace(Interpreter& at, const Value& value, Arguments& a) {
  const Bound bound("replace", a, {"old", "new", "count"}, 2);
  Arguments given;
  given.positional = {at.text(bound[0]), at.text(bound[1])};
  if (bound.given(2))
    given.positional.push_back(bound[2]);
  return as_method(at, value, given, "replace");
}

Value f_indent(Interpreter& at, const Value& value, Arguments& a) {
  const Bound bound("indent", a, {"width", "first", "blank"});
  if (value.is_undefined())
    fail(value.why_undefined());
  if (!value.is_text())
    fail("The filter indent needs a text, not " + value.type_name());
  Budget& budget = at.budget();
  std::string margin;
  if (bound.has(0) && bound[0].is_text()) {
    margin = bound[0].text();
  } else {
    const std::int64_t width = bound.integer(0, 4);
    budget.bytes(std::uint64_t(std::max<std::int64_t>(width, 0)));
    margin.assign(std::size_t(std::max<std::int64_t>(width, 0)), ' ');
  }
  const std::string text = value.text() + "\n";
  const bool blank = bound.truth(2, false);
  std::string out = bound.truth(1, false) ? margin : std::string();
  bool first = true;
  for (const std::string_view line : lines(text, false)) {
    budget.bytes(line.size() + margin.size() + 1);
    if (!first) {
      out += '\n';
      if (blank || !line.empty())
        out += margin;
    }
    first = false;
    out += line;
  }
  return out;
}

Value f_escape(Interpreter& at, const Value& value, Arguments&) {
  std::string out;
  for (const char c : at.text(value)) {
    switch (c) {
    case '&':
      out += "&amp;";
      break;
    case '<':
      out += "&lt;";
      break;
    case '>':
      out += "&gt;";
      break;
    case '"':
      out += "&#34;";
      break;
    case '\'':
      out += "&#39;";
      break;
    default:
      out += c;
    }
  }
  return make_text(std::move(out), at.budget());
}

Value f_tojson(Interpreter& at, const Value& value, Arguments& a) {
  const Bound bound("tojson", a, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ascii = bound.truth(0, false);
  if (bound.given(1)) {
    style.item_separator = ",";
    if (bound[1].is_text()) {
      style.indent = 0;
      style.indent_text = bound[1].text();
    } else {
      const std::int64_t width = std::max<std::int64_t>(bound.integer(1, 0), 0);
      at.budget().bytes(std::uint64_t(width));
      style.indent = 0;
      style.indent_text.assign(std::size_t(width), ' ');
    }
  }
  if (bound.given(2)) {
    const auto pair = items_of(bound[2], at.budget());
    if (pair.size() != 2 || !pair[0].is_text() || !pair[1].is_text())
      fail("tojson: separators must be two texts");
    style.item_separator = pair[0].text();
    style.key_separator = pair[1].text();
  }
  style.sort_keys = bound.truth(3, false);
  return to_json(value, style, at.budget());
}

Value f_title(Interpreter& at, const Value& value, Arguments&) {
  // Unlike str.title: a word begins after white space and - ( { [ < only.
  std::string out;
  bool begins = true;
  const std::string text = at.text(value);
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t size = character_size(text, i);
    const std::uint32_t c = character_at(text, i);
    const auto one = std::string_view(text).substr(i, size);
    out += begins ? upper(one) : lower(one);
    begins = space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
    i += size;
  }
  return make_text(std::move(out), at.budget());
}

Value f_format(Interpreter& at, const Value& value, Arguments& a) {
  if (!a.positional.empty() && !a.keywords.empty())
    fail("format can't handle positional and keyword arguments at the same time");
  Value given;
  if (a.keywords.empty()) {
    given = make_tuple(a.positional, at.budget());
  } else {
    Dict dict;
    for (const auto& [name, one] : a.keywords)
      dict.set(Value(name), one, at.budget());
    given = make_dict(std::move(dict));
  }
  return make_text(percent_format(at.text(value), given, at.budget()), at.budget());
}

Value f_truncate(Interpreter& at, const Value& value, Arguments& a) {
  const Bound bound("truncate", a, {"length", "killwords", "end", "leeway"});
  const std::string text = at.text(value), end = bound.has(2) ? bound.text(2) : "...";
  const std::int64_t length = bound.integer(0, 255);
  const std::int64_t leeway = bound.given(3) ? bound.integer(3, 5) : 5;
  const auto end_length = std::int64_t(text_length(end));
  if (length < end_length || leeway < 0)
    fail("truncate: the length must be at least that of the end, and the leeway not negative");
  const auto size = std::int64_t(text_length(text));
  if (size <= length || size - length <= leeway)
    return text;
  std::string cut = text.substr(0, byte_of(text, std::size_t(length - end_length)));
  if (!bound.truth(1, false))
    if (const std::size_t blank = cut.rfind(' '); blank != cut.npos)
      cut.resize(blank);
  return make_text(cut + end, at.budget());
}

Value f_wordcount(Interpreter& at, const Value& value, Arguments&) {
  const std::string text = at.text(value);
  std::int64_t count = 0;
  bool inside = false;
  for (std::size_t i = 0; i < text.size(); i += character_size(text, i)) {
    const std::uint32_t c = character_at(text, i);
    const bool word = c == '_' || alphabetic(c) || numeric(c);
    count += word && !inside;
    inside = word;
  }
  return count;
}

Value f_urlencode(Interpreter& at, const Value& value, Arguments&) {
  const auto quote = [&](const Value& one, bool query) {
    std::string out;
    for (const char c : at.text(one)) {
      const auto byte = static_cast<unsigned char>(c);
      if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
          std::string_view("_.-~").find(c) != std::string_view::npos || (c == '/' && !query))
        out += c;
      else if (c == ' ' && query)
        out += '+';
      else
        ((out += '%') += "0123456789ABCDEF"[byte >> 4]) += "0123456789ABCDEF"[byte & 15];
    }
    return out;
  };
  if (!value.is_dict() && !value.is_sequence())
    return make_text(quote(value, false), at.budget());
  std::string out;
  const auto add = [&](const Value& key, const Value& one) {
    out += (out.empty() ? "" : "&") + quote(key, true) + "=" + quote(one, true);
  };
  if (value.is_dict())
    for (const auto& [key, one] : value.dict().entries)
      add(key, one);
  else
    for (const Value& pair : items_of(value, at.budget()))
      add(at.item(pair, Value(0)), at.item(pair, Value(1)));
  return make_text(std::move(out), at.budget());
}

} // namespace

FilterFunction find_text_filter(const std::string& name) {
  static const std::unordered_map<std::string, F> all{
      {"upper",
       [](Interpreter& at, const Value& v, Arguments& a) { return as_method(at, v, a, "upper"); }},
      {"lower",
       [](Interpreter& at, const Value& v, Arguments& a) { return as_method(at, v, a, "lower"); }},
      {"capitalize", [](Interpreter& at, const Value& v,
                        Arguments& a) { return as_method(at, v, a, "capitalize"); }},
      {"trim",
       [](Interpreter& at, const Value& v, Arguments& a) {
         const Bound bound("trim", a, {"chars"});
         Arguments given;
         if (bound.has(0))
           given.positional.push_back(bound[0]);
         return as_method(at, v, given, "strip");
       }},
      {"center",
       [](Interpreter& at, const Value& v, Arguments& a) {
         const Bound bound("center", a, {"width"});
         Arguments given;
         given.positional.emplace_back(bound.integer(0, 80));
         return as_method(at, v, given, "center");
       }},
      {"string", [](Interpreter& at, const Value& v,
                    Arguments&) { return v.is_text() ? v : Value(at.text(v)); }},
      {"safe", [](Interpreter& at, const Value& v,
                  Arguments&) { return v.is_text() ? v : Value(at.text(v)); }},
      {"title", f_title},
      {"replace", f_replace},
      {"indent", f_indent},
      {"escape", f_escape},
      {"e", f_escape},
      {"forceescape", f_escape},
      {"tojson", f_tojson},
      {"format", f_format},
      {"truncate", f_truncate},
      {"wordcount", f_wordcount},
      {"urlencode", f_urlencode},
  };
  const auto it = all.find(name);
  return it == all.end() ? nullptr : it->second;
}

} // namespace bitlathe::jinja
