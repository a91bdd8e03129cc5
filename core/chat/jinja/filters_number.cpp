// SPDX-License-Identifier: Apache-2.0
// Filters that make numbers: int, float, abs, round.
#include "core/chat/jinja/objects.h"
#include "core/chat/jinja/text.h"

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <optional>

namespace bitlathe::jinja {
namespace {

/// Python's int(text, base): white space around, a sign, single underscores between digits, a
/// prefix that fits the base.
std::optional<std::int64_t> read_int(std::string_view text, std::int64_t base) {
  text = stripped(text, Side::both, true, {});
  const bool negative = !text.empty() && text[0] == '-';
  if (!text.empty() && (text[0] == '-' || text[0] == '+'))
    text.remove_prefix(1);
  if (text.size() > 2 && text[0] == '0') {
    const char c = char(text[1] | 32);
    const std::int64_t named = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 0;
    if (named != 0 && (base == named || base == 0)) {
      base = named;
      text.remove_prefix(2);
      if (!text.empty() && text[0] == '_')
        text.remove_prefix(1);
    }
  }
  if (base == 0)
    base = 10;
  if (base < 2 || base > 36)
    return std::nullopt;
  std::string digits;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_')
      digits += text[i];
    else if (i == 0 || i + 1 == text.size() || text[i + 1] == '_')
      return std::nullopt;
  }
  if (digits.empty() || digits[0] == '-')
    return std::nullopt;
  std::int64_t out = 0;
  if (negative)
    digits.insert(digits.begin(), '-');
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), out, int(base));
  if (read.ec == std::errc::result_out_of_range)
    fail("An integer becomes too large (they have 64 bits here)");
  if (read.ec != std::errc() || read.ptr != digits.data() + digits.size())
    return std::nullopt;
  return out;
}

std::optional<double> read_float(std::string_view text) {
  text = stripped(text, Side::both, true, {});
  if (!text.empty() && text[0] == '+')
    text.remove_prefix(1);
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_')
      plain += text[i];
    else if (i == 0 || i + 1 == text.size() || text[i - 1] < '0' || text[i - 1] > '9' ||
             text[i + 1] < '0' || text[i + 1] > '9')
      return std::nullopt;
  }
  double out = 0;
  const auto read = std::from_chars(plain.data(), plain.data() + plain.size(), out);
  if (read.ptr != plain.data() + plain.size() || plain.empty() ||
      plain.find('(') != plain.npos) // nan(...)
    return std::nullopt;
  if (read.ec == std::errc::result_out_of_range)
    return std::strtod(plain.c_str(), nullptr);
  return read.ec == std::errc() ? std::optional(out) : std::nullopt;
}

std::optional<std::int64_t> truncated(double value) {
  if (!std::isfinite(value))
    return std::nullopt;
  if (std::abs(value) >= 9.2e18)
    fail("An integer becomes too large (they have 64 bits here)");
  return std::int64_t(value);
}

Value f_int(Interpreter&, const Value& value, Arguments& a) {
  const Bound bound("int", a, {"default", "base"});
  if (value.is_undefined())
    fail(value.why_undefined());
  std::optional<std::int64_t> out;
  if (value.is_text()) {
    out = read_int(value.text(), bound.integer(1, 10));
    if (!out)
      if (const auto number = read_float(value.text()))
        out = truncated(*number);
  } else if (value.is_integral()) {
    out = value.integer();
  } else if (value.is_float()) {
    out = truncated(value.number());
  }
  return out ? Value(*out) : bound.has(0) ? bound[0] : Value(0);
}

Value f_float(Interpreter&, const Value& value, Arguments& a) {
  const Bound bound("float", a, {"default"});
  if (value.is_undefined())
    fail(value.why_undefined());
  if (value.is_number())
    return value.number();
  if (value.is_text())
    if (const auto out = read_float(value.text()))
      return *out;
  return bound.has(0) ? bound[0] : Value(0.0);
}

Value f_round(Interpreter&, const Value& value, Arguments& a) {
  const Bound bound("round", a, {"precision", "method"});
  const std::int64_t precision = bound.integer(0, 0);
  const std::string method = bound.has(1) ? bound.text(1) : "common";
  if (value.is_undefined())
    fail(value.why_undefined());
  if (!value.is_number())
    fail("round needs a number, not " + value.type_name());
  if (method != "common" && method != "ceil" && method != "floor")
    fail("round: method must be common, ceil or floor");
  if (precision > 300 || precision < -300)
    fail("round: the precision lies between -300 and 300");
  const double x = value.number();
  if (!std::isfinite(x))
    return value;
  if (method == "common") {
    if (value.is_integral() && precision >= 0)
      return value.integer();
    if (precision >= 0) {
      char text[700]; // rounded to the nearest, halves of the exact value to even, as Python does
      std::snprintf(text, sizeof text, "%.*f", int(precision), x);
      return std::strtod(text, nullptr);
    }
    const double unit = std::pow(10.0, double(-precision));
    const double out = std::nearbyint(x / unit) * unit;
    return value.is_integral() ? Value(std::int64_t(out)) : Value(out);
  }
  const double unit = std::pow(10.0, double(precision));
  return (method == "ceil" ? std::ceil(x * unit) : std::floor(x * unit)) / unit;
}

Value f_abs(Interpreter&, const Value& value, Arguments&) {
  if (value.is_undefined())
    fail(value.why_undefined());
  if (!value.is_number())
    fail("bad operand type for abs(): '" + value.type_name() + "'");
  if (value.is_float())
    return std::abs(value.number());
  return value.integer() < 0 ? unary_operation("-", value) : Value(value.integer());
}

} // namespace

FilterFunction find_number_filter(const std::string& name) {
  return name == "int"     ? f_int
         : name == "float" ? f_float
         : name == "round" ? f_round
         : name == "abs"   ? f_abs
                           : nullptr;
}

} // namespace bitlathe::jinja
