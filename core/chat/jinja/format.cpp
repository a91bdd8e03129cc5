// SPDX-License-Identifier: Apache-2.0
// "%s" % value and "{}".format(value).
#include "core/chat/jinja/objects.h"
#include "core/chat/jinja/text.h"

#include <charconv>
#include <cmath>
#include <cstdio>

namespace bitlathe::jinja {
namespace {

constexpr std::int64_t widest = 100'000;

struct Spec {
  bool left = false, zero = false, plus = false, blank = false, alternate = false, center = false;
  bool comma = false, given_align = false, after_sign = false;
  std::string fill = " ";
  std::int64_t width = 0, precision = -1;
  char type = 's';
};

/// Fills `body` up to the width; zeros go behind the sign.
std::string padded(const std::string& sign, const std::string& body, const Spec& spec, bool number,
                   Budget& budget) {
  const std::string text = sign + body;
  const std::int64_t more = spec.width - std::int64_t(text_length(text));
  budget.bytes(text.size() + std::uint64_t(std::max<std::int64_t>(more, 0)));
  if (more <= 0)
    return text;
  const auto fill = [&](std::int64_t count) {
    std::string out;
    for (; count > 0; --count)
      out += spec.fill;
    return out;
  };
  if (spec.center)
    return fill(more / 2) + text + fill(more - more / 2);
  if (spec.left)
    return text + fill(more);
  if (number && (spec.zero || spec.after_sign))
    return sign + (spec.zero ? std::string(std::size_t(more), '0') : fill(more)) + body;
  return fill(more) + text;
}

std::string grouped(const std::string& digits) {
  std::string out;
  const std::size_t whole = std::min(digits.find_first_not_of("0123456789"), digits.size());
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && i < whole && (whole - i) % 3 == 0)
      out += ',';
    out += digits[i];
  }
  return out;
}

std::string formatted_number(const Value& value, Spec spec, Budget& budget) {
  const char type = spec.type;
  std::string body;
  bool negative = false;
  const bool real = std::string_view("eEfFgG%").find(type) != std::string_view::npos;
  if (!real) {
    std::int64_t whole = 0;
    if (value.is_float()) {
      if (!std::isfinite(value.number()) || std::abs(value.number()) >= 9.2e18)
        fail("A number is too large for an integer format");
      whole = std::int64_t(value.number());
    } else {
      whole = value.integer();
    }
    negative = whole < 0;
    const std::uint64_t size = negative ? 0 - std::uint64_t(whole) : std::uint64_t(whole);
    const int base = type == 'x' || type == 'X' ? 16 : type == 'o' ? 8 : type == 'b' ? 2 : 10;
    char text[72];
    body.assign(text, std::to_chars(text, text + sizeof text, size, base).ptr);
    if (std::int64_t(body.size()) < spec.precision)
      body.insert(0, std::size_t(spec.precision) - body.size(), '0');
    if (type == 'X')
      body = upper(body);
    if (spec.alternate && base != 10)
      body.insert(0, std::string("0") + type);
  } else {
    const double number = value.number() * (type == '%' ? 100 : 1);
    negative = std::signbit(number) && !std::isnan(number);
    const char c = type == '%' ? 'f' : type;
    const std::string layout = std::string("%") + (spec.alternate ? "#" : "") + ".*" + c;
    std::string text(std::size_t(420 + std::max<std::int64_t>(spec.precision, 6)), '\0');
    const int size = std::snprintf(text.data(), text.size(), layout.c_str(),
                                   int(spec.precision < 0 ? 6 : spec.precision), std::abs(number));
    text.resize(std::size_t(size));
    body = text + (type == '%' ? "%" : "");
    if (!std::isfinite(number))
      spec.zero = false;
  }
  if (spec.comma)
    body = grouped(body);
  return padded(negative ? "-" : spec.plus ? "+" : spec.blank ? " " : "", body, spec, true, budget);
}

std::string cut(const std::string& text, std::int64_t characters) {
  return characters < 0 ? text : text.substr(0, byte_of(text, std::size_t(characters)));
}

bool digit_at(const std::string& text, std::size_t at) {
  return at < text.size() && text[at] >= '0' && text[at] <= '9';
}

std::int64_t read_number(const std::string& text, std::size_t& at) {
  std::int64_t out = 0;
  for (; digit_at(text, at); ++at)
    if ((out = out * 10 + (text[at] - '0')) > widest)
      fail("A width or precision in a format is larger than " + std::to_string(widest));
  return out;
}

} // namespace

std::string percent_format(const std::string& format, const Value& value, Budget& budget) {
  std::vector<Value> values;
  const bool tuple = value.is_sequence() && value.sequence().kind == Sequence::Kind::tuple;
  if (tuple)
    values = value.sequence().items;
  else
    values.push_back(value);
  std::size_t used = 0;
  bool named = false;
  const auto take = [&]() -> Value {
    if (used >= values.size())
      fail("not enough arguments for format string");
    return values[used++];
  };
  const auto number = [&](std::size_t& at) -> std::int64_t {
    if (at >= format.size() || format[at] != '*')
      return read_number(format, at);
    ++at;
    const Value width = take();
    if (!width.is_integral() || width.integer() > widest || width.integer() < -widest)
      fail("* wants a small integer");
    return width.integer();
  };
  std::string out;
  for (std::size_t at = 0; at < format.size();) {
    const std::size_t next = std::min(format.find('%', at), format.size());
    budget.bytes(next - at + 1);
    out.append(format, at, next - at);
    at = next + 1;
    if (next == format.size())
      break;
    Value one;
    bool have = false;
    if (at < format.size() && format[at] == '(') {
      const std::size_t close = format.find(')', at);
      if (!value.is_dict() || close == format.npos)
        fail("format requires a mapping");
      const Value* found =
          value.dict().find(std::string_view(format).substr(at + 1, close - at - 1));
      if (!found)
        fail("The format names a key that is missing: " + format.substr(at + 1, close - at - 1));
      one = *found;
      have = named = true;
      at = close + 1;
    }
    Spec spec;
    for (; at < format.size(); ++at) {
      const char c = format[at];
      if (c == '-')
        spec.left = true;
      else if (c == '0')
        spec.zero = true;
      else if (c == '+')
        spec.plus = true;
      else if (c == ' ')
        spec.blank = true;
      else if (c == '#')
        spec.alternate = true;
      else
        break;
    }
    spec.width = number(at);
    if (spec.width < 0) {
      spec.left = true;
      spec.width = -spec.width;
    }
    if (at < format.size() && format[at] == '.') {
      ++at;
      spec.precision = std::max<std::int64_t>(number(at), 0);
    }
    while (at < format.size() && (format[at] == 'l' || format[at] == 'h' || format[at] == 'L'))
      ++at;
    if (at >= format.size())
      fail("incomplete format");
    spec.type = format[at++];
    if (spec.type == '%') {
      out += '%';
      continue;
    }
    if (!have)
      one = take();
    if (spec.type == 's' || spec.type == 'r' || spec.type == 'a') {
      const std::string text = spec.type == 's' ? to_text(one, budget) : to_repr(one, budget);
      out += padded({}, cut(text, spec.precision), spec, false, budget);
    } else if (spec.type == 'c') {
      if (one.is_text() && text_length(one.text()) == 1)
        out += padded({}, one.text(), spec, false, budget);
      else if (one.is_int() && one.integer() >= 0 && one.integer() < 0xd800)
        out += padded({}, utf8(std::uint32_t(one.integer())), spec, false, budget);
      else
        fail("%c requires int or char");
    } else if (std::string_view("diuoxXeEfFgG").find(spec.type) != std::string_view::npos) {
      if (one.is_undefined())
        fail(one.why_undefined());
      const bool whole = std::string_view("oxX").find(spec.type) != std::string_view::npos;
      if (!one.is_number() || (whole && one.is_float()))
        fail(std::string("%") + spec.type + " format: a number is required, not " +
             one.type_name());
      out += formatted_number(one, spec, budget);
    } else {
      fail(std::string("unsupported format character '") + spec.type + "'");
    }
  }
  const bool may_remain = named || value.is_dict() || (value.is_sequence() && !tuple);
  if (used < values.size() && !may_remain)
    fail("not all arguments converted during string formatting");
  return out;
}

// --- str.format
// -----------------------------------------------------------------------------------

namespace {

std::string format_value(const Value& value, const std::string& text, Budget& budget) {
  if (text.empty())
    return to_text(value, budget);
  Spec spec;
  spec.type = '\0';
  std::size_t at = 0;
  const std::size_t first = character_size(text, 0);
  const auto is_align = [&](std::size_t i) {
    return i < text.size() && std::string_view("<>^=").find(text[i]) != std::string_view::npos;
  };
  if (is_align(first)) {
    spec.fill = text.substr(0, first);
    at = first;
  }
  const bool number = value.is_number() && !value.is_bool();
  spec.left = !number;
  if (is_align(at)) {
    spec.left = text[at] == '<';
    spec.center = text[at] == '^';
    spec.after_sign = text[at] == '=';
    spec.given_align = true;
    ++at;
  }
  if (at < text.size() && (text[at] == '+' || text[at] == '-' || text[at] == ' ')) {
    spec.plus = text[at] == '+';
    spec.blank = text[at] == ' ';
    ++at;
  }
  if (at < text.size() && text[at] == '#') {
    spec.alternate = true;
    ++at;
  }
  if (at < text.size() && text[at] == '0') {
    if (!spec.given_align && number)
      spec.zero = true;
    ++at;
  }
  spec.width = read_number(text, at);
  if (at < text.size() && text[at] == ',') {
    spec.comma = true;
    ++at;
  }
  if (at < text.size() && text[at] == '.') {
    ++at;
    spec.precision = read_number(text, at);
  }
  if (at < text.size())
    spec.type = text[at++];
  if (at != text.size())
    fail("The format '" + text + "' is not understood");
  if (value.is_number() && spec.type != 's' && !(value.is_bool() && spec.type == '\0')) {
    if (spec.type == '\0' || spec.type == 'n')
      spec.type = value.is_float() ? 'g' : 'd';
    if (spec.type == 'g' && value.is_float() && spec.precision < 0) {
      const double d = value.number();
      const std::string shortest = float_text(std::abs(d));
      return padded(std::signbit(d) ? "-"
                    : spec.plus     ? "+"
                    : spec.blank    ? " "
                                    : "",
                    spec.comma ? grouped(shortest) : shortest, spec, true, budget);
    }
    if (std::string_view("dxXobeEfFgG%").find(spec.type) == std::string_view::npos ||
        (value.is_float() && std::string_view("dxXob").find(spec.type) != std::string_view::npos))
      fail(std::string("Unknown format code '") + spec.type + "' for object of type '" +
           value.type_name() + "'");
    return formatted_number(value, spec, budget);
  }
  if (spec.type != '\0' && spec.type != 's')
    fail(std::string("Unknown format code '") + spec.type + "' for object of type '" +
         value.type_name() + "'");
  return padded({}, cut(to_text(value, budget), spec.precision), spec, false, budget);
}

} // namespace

std::string brace_format(Interpreter& at, const std::string& format, const Arguments& arguments) {
  std::string out;
  std::size_t automatic = 0;
  for (std::size_t i = 0; i < format.size();) {
    const char c = format[i];
    at.budget().bytes(1);
    if (c != '{' && c != '}') {
      out += c;
      ++i;
      continue;
    }
    if (i + 1 < format.size() && format[i + 1] == c) {
      out += c;
      i += 2;
      continue;
    }
    const std::size_t close = format.find('}', i);
    if (c == '}' || close == format.npos)
      fail(c == '}' ? "Single '}' encountered in format string"
                    : "expected '}' before end of string");
    std::string field = format.substr(i + 1, close - i - 1), spec;
    i = close + 1;
    if (field.find('{') != field.npos)
      fail("Nested fields are not supported in format strings");
    if (const std::size_t colon = field.find(':'); colon != field.npos) {
      spec = field.substr(colon + 1);
      field.resize(colon);
    }
    char conversion = 's';
    bool converts = false;
    if (field.size() >= 2 && field[field.size() - 2] == '!') {
      conversion = field.back();
      converts = true;
      field.resize(field.size() - 2);
    }
    const std::size_t name_end = std::min(field.find_first_of(".["), field.size());
    const std::string name = field.substr(0, name_end);
    Value value;
    std::size_t index = 0;
    if (name.empty()) {
      index = automatic++;
    } else if (digit_at(name, 0)) {
      std::size_t read = 0;
      index = std::size_t(read_number(name, read));
    }
    if (name.empty() || digit_at(name, 0)) {
      if (index >= arguments.positional.size())
        fail("Replacement index " + std::to_string(index) + " out of range for positional args");
      value = arguments.positional[index];
    } else {
      bool found = false;
      for (const auto& [key, one] : arguments.keywords)
        if (key == name) {
          value = one;
          found = true;
        }
      if (!found)
        fail("The format names an argument that is missing: " + name);
    }
    for (std::size_t k = name_end; k < field.size();) {
      if (field[k] == '.') {
        const std::size_t end = std::min(field.find_first_of(".[", k + 1), field.size());
        value = at.attribute(value, field.substr(k + 1, end - k - 1));
        k = end;
      } else {
        const std::size_t end = field.find(']', k);
        if (field[k] != '[' || end == field.npos)
          fail("A field of a format string is not understood: " + field);
        const std::string key = field.substr(k + 1, end - k - 1);
        std::size_t read = 0;
        value = at.item(value, digit_at(key, 0) ? Value(read_number(key, read)) : Value(key));
        k = end + 1;
      }
    }
    if (converts && conversion == 'r')
      value = to_repr(value, at.budget());
    else if (converts)
      value = at.text(value);
    out += format_value(value, spec, at.budget());
  }
  return out;
}

} // namespace bitlathe::jinja
