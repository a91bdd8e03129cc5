// SPDX-License-Identifier: Apache-2.0
// How values print: Python's str() and repr(), and JSON as json.dumps writes it.
#include "core/chat/jinja/text.h"
#include "core/chat/jinja/value.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace bitlathe::jinja {

std::string float_text(double value) {
  if (std::isnan(value))
    return "nan";
  if (std::isinf(value))
    return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  std::string text(buffer, end.ptr);
  const std::size_t e = text.find('e');
  int exponent = 0;
  const char* from = text.data() + e + 1 + (text[e + 1] == '+');
  std::from_chars(from, text.data() + text.size(), exponent);
  std::string digits = text.substr(0, e);
  const bool negative = digits[0] == '-';
  if (negative)
    digits.erase(0, 1);
  digits.erase(std::remove(digits.begin(), digits.end(), '.'), digits.end());
  std::string out;
  const int count = int(digits.size());
  if (exponent < -4 || exponent >= 16) { // 1e+16, 1.5e-07
    out = digits.substr(0, 1);
    if (count > 1)
      out += "." + digits.substr(1);
    const int size = std::abs(exponent);
    out += exponent < 0 ? "e-" : "e+";
    out += (size < 10 ? "0" : "") + std::to_string(size);
  } else if (exponent < 0) {
    out = "0." + std::string(std::size_t(-exponent - 1), '0') + digits;
  } else if (count <= exponent + 1) {
    out = digits + std::string(std::size_t(exponent + 1 - count), '0') + ".0";
  } else {
    out = digits.substr(0, std::size_t(exponent) + 1) + "." +
          digits.substr(std::size_t(exponent) + 1);
  }
  return negative ? "-" + out : out;
}

namespace {

/// Appends and asks the budget.
class Writer {
 public:
  explicit Writer(Budget& budget) : budget_(budget) {}
  void add(std::string_view text) {
    budget_.bytes(text.size());
    out_ += text;
  }
  std::string take() { return std::move(out_); }
  Budget& budget() { return budget_; }

 private:
  Budget& budget_;
  std::string out_;
};

std::string hex(std::uint32_t value, int digits) {
  std::string out;
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4)
    out += "0123456789abcdef"[value >> shift & 15];
  return out;
}

std::string python_text(std::string_view text) {
  const bool single = text.find('\'') != text.npos, twice = text.find('"') != text.npos;
  const char quote = single && !twice ? '"' : '\'';
  std::string out(1, quote);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t size = character_size(text, at);
    const std::uint32_t c = character_at(text, at);
    if (c == std::uint32_t(quote) || c == '\\')
      (out += '\\') += char(c);
    else if (c == '\n')
      out += "\\n";
    else if (c == '\r')
      out += "\\r";
    else if (c == '\t')
      out += "\\t";
    else if (printable(c))
      out += text.substr(at, size);
    else
      out += c < 0x100 ? "\\x" + hex(c, 2) : c < 0x10000 ? "\\u" + hex(c, 4) : "\\U" + hex(c, 8);
    at += size;
  }
  return out += quote;
}

void write(const Value& value, Writer& out);

void write_items(const std::vector<Value>& items, Writer& out) {
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0)
      out.add(", ");
    write(items[i], out);
  }
}

void write_sequence(const Sequence& sequence, Writer& out) {
  switch (sequence.kind) {
  case Sequence::Kind::list:
    out.add("[");
    write_items(sequence.items, out);
    out.add("]");
    break;
  case Sequence::Kind::tuple:
    out.add("(");
    write_items(sequence.items, out);
    out.add(sequence.items.size() == 1 ? ",)" : ")");
    break;
  case Sequence::Kind::range: {
    const auto& items = sequence.items;
    const std::int64_t first = items.empty() ? 0 : items.front().integer();
    const std::int64_t step = items.size() > 1 ? items[1].integer() - first : 1;
    const std::int64_t last = items.empty() ? 0 : items.back().integer() + (step > 0 ? 1 : -1);
    out.add("range(" + std::to_string(first) + ", " + std::to_string(last) +
            (step == 1 ? "" : ", " + std::to_string(step)) + ")");
    break;
  }
  case Sequence::Kind::generator:
    out.add("<generator object>");
    break;
  case Sequence::Kind::keys:
  case Sequence::Kind::values:
  case Sequence::Kind::items:
    out.add(sequence.kind == Sequence::Kind::keys     ? "dict_keys(["
            : sequence.kind == Sequence::Kind::values ? "dict_values(["
                                                      : "dict_items([");
    write_items(sequence.items, out);
    out.add("])");
    break;
  }
}

void write(const Value& value, Writer& out) {
  out.budget().step();
  if (value.is_undefined())
    out.add("Undefined");
  else if (value.is_none())
    out.add("None");
  else if (value.is_bool())
    out.add(value.truth() ? "True" : "False");
  else if (value.is_int())
    out.add(std::to_string(value.integer()));
  else if (value.is_float())
    out.add(float_text(value.number()));
  else if (value.is_text())
    out.add(python_text(value.text()));
  else if (value.is_object())
    out.add(value.object().text());
  else if (value.is_sequence())
    write_sequence(value.sequence(), out);
  else {
    out.add("{");
    bool first = true;
    for (const auto& [key, item] : value.dict().entries) {
      if (!first)
        out.add(", ");
      first = false;
      write(key, out);
      out.add(": ");
      write(item, out);
    }
    out.add("}");
  }
}

} // namespace

std::string to_repr(const Value& value, Budget& budget) {
  Writer out(budget);
  write(value, out);
  return out.take();
}

std::string to_text(const Value& value, Budget& budget) {
  if (value.is_text()) {
    budget.bytes(value.text().size());
    return value.text();
  }
  if (value.is_undefined())
    return {};
  return to_repr(value, budget);
}

// --- JSON
// -----------------------------------------------------------------------------------------

namespace {

void json_text(std::string_view text, bool ascii, Writer& out) {
  std::string quoted = "\"";
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t size = character_size(text, at);
    const std::uint32_t c = character_at(text, at);
    if (c == '"' || c == '\\')
      (quoted += '\\') += char(c);
    else if (c == '\n')
      quoted += "\\n";
    else if (c == '\r')
      quoted += "\\r";
    else if (c == '\t')
      quoted += "\\t";
    else if (c == '\b')
      quoted += "\\b";
    else if (c == '\f')
      quoted += "\\f";
    else if (c < 0x20)
      quoted += "\\u" + hex(c, 4);
    else if (c < 0x7f || !ascii)
      quoted += text.substr(at, size);
    else if (c < 0x10000)
      quoted += "\\u" + hex(c, 4);
    else
      quoted += "\\u" + hex(0xd800 + ((c - 0x10000) >> 10), 4) + "\\u" +
                hex(0xdc00 + ((c - 0x10000) & 0x3ff), 4);
    at += size;
  }
  out.add(quoted += '"');
}

std::string json_scalar(const Value& value) {
  if (value.is_none())
    return "null";
  if (value.is_bool())
    return value.truth() ? "true" : "false";
  if (value.is_int())
    return std::to_string(value.integer());
  const double d = value.number();
  return std::isnan(d) ? "NaN" : std::isinf(d) ? (d < 0 ? "-Infinity" : "Infinity") : float_text(d);
}

void json_write(const Value& value, const JsonStyle& style, int level, Writer& out) {
  out.budget().step();
  const bool pretty = style.indent >= 0;
  const auto new_line = [&](int at) {
    if (!pretty)
      return;
    out.add("\n");
    for (int i = 0; i < at; ++i)
      out.add(style.indent_text);
  };
  const auto separate = [&](bool first) {
    if (!first)
      out.add(style.item_separator);
    new_line(level + 1);
  };
  if (value.is_text())
    return json_text(value.text(), style.ascii, out);
  if (value.is_none() || value.is_number())
    return out.add(json_scalar(value));
  if (value.is_sequence() && (value.sequence().kind == Sequence::Kind::list ||
                              value.sequence().kind == Sequence::Kind::tuple)) {
    const auto& items = value.sequence().items;
    if (items.empty())
      return out.add("[]");
    out.add("[");
    for (std::size_t i = 0; i < items.size(); ++i) {
      separate(i == 0);
      json_write(items[i], style, level + 1, out);
    }
    new_line(level);
    return out.add("]");
  }
  if (!value.is_dict())
    fail("Object of type " + value.type_name() + " is not JSON serializable" +
         (value.is_undefined() ? ": " + value.why_undefined() : std::string()));
  auto entries = value.dict().entries;
  out.budget().items(entries.size() * 2);
  if (entries.empty())
    return out.add("{}");
  if (style.sort_keys)
    std::stable_sort(entries.begin(), entries.end(), [&](const auto& a, const auto& b) {
      return less(a.first, b.first, "<", out.budget());
    });
  out.add("{");
  for (std::size_t i = 0; i < entries.size(); ++i) {
    separate(i == 0);
    const Value& key = entries[i].first;
    if (key.is_text())
      json_text(key.text(), style.ascii, out);
    else if (key.is_none() || key.is_number())
      out.add("\"" + json_scalar(key) + "\"");
    else
      fail("keys must be str, int, float, bool or None, not " + key.type_name());
    out.add(style.key_separator);
    json_write(entries[i].second, style, level + 1, out);
  }
  new_line(level);
  out.add("}");
}

} // namespace

std::string to_json(const Value& value, const JsonStyle& style, Budget& budget) {
  Writer out(budget);
  json_write(value, style, 0, out);
  return out.take();
}

Value from_json(const OrderedJson& json, Budget& budget) {
  budget.step();
  if (json.is_boolean())
    return json.get<bool>();
  if (json.is_number_unsigned() && json.get<std::uint64_t>() > std::uint64_t(INT64_MAX))
    return json.get<double>();
  if (json.is_number_integer())
    return json.get<std::int64_t>();
  if (json.is_number())
    return json.get<double>();
  if (json.is_string())
    return make_text(valid_utf8(json.get_ref<const std::string&>()), budget);
  if (json.is_array()) {
    std::vector<Value> items;
    for (const auto& item : json)
      items.push_back(from_json(item, budget));
    return make_list(std::move(items), budget);
  }
  if (json.is_object()) {
    Dict dict;
    for (const auto& [key, item] : json.items())
      dict.set(Value(valid_utf8(key)), from_json(item, budget), budget);
    return make_dict(std::move(dict));
  }
  return None{};
}

} // namespace bitlathe::jinja
