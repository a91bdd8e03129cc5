// SPDX-License-Identifier: Apache-2.0
// Arithmetic with Python's meaning: / gives a float, // and % round down, texts and lists add and
// repeat.
#include "core/chat/jinja/interpreter.h"
#include "core/chat/jinja/text.h"

#include <cmath>

namespace bitlathe::jinja {
namespace {

using Int = std::int64_t;

[[noreturn]] void too_large() { fail("An integer becomes too large (they have 64 bits here)"); }

[[noreturn]] void unsupported(const std::string& op, const Value& a, const Value& b) {
  fail("unsupported operand type(s) for " + (op == "**" ? "** or pow()" : op) + ": '" +
       a.type_name() + "' and '" + b.type_name() + "'");
}

Int floor_divide(Int a, Int b) {
  if (a == INT64_MIN && b == -1)
    too_large();
  const Int q = a / b;
  return q - (a % b != 0 && (a < 0) != (b < 0));
}
Int modulo(Int a, Int b) {
  if (b == -1)
    return 0;
  const Int r = a % b;
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
double float_modulo(double a, double b) {
  const double r = std::fmod(a, b);
  if (r != 0 && (r < 0) != (b < 0))
    return r + b;
  return r == 0 ? std::copysign(0.0, b) : r;
}

Value power(const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral() && b.integer() >= 0) {
    Int base = a.integer(), out = 1;
    std::uint64_t left = std::uint64_t(b.integer());
    if (base == 0 || base == 1 || base == -1)
      return left == 0 ? Int(1) : base == -1 ? (left % 2 ? Int(-1) : Int(1)) : base;
    if (left > 63)
      too_large();
    for (; left > 0; --left)
      if (__builtin_mul_overflow(out, base, &out))
        too_large();
    return out;
  }
  const double x = a.number(), y = b.number();
  if (x == 0 && y < 0)
    fail("0.0 cannot be raised to a negative power");
  if (x < 0 && std::floor(y) != y)
    fail("Complex numbers are not supported in templates");
  const double out = std::pow(x, y);
  if (std::isinf(out) && std::isfinite(x) && std::isfinite(y))
    fail("A number becomes too large");
  return out;
}

Value numbers(const std::string& op, const Value& a, const Value& b) {
  const bool whole = a.is_integral() && b.is_integral();
  if (op == "**")
    return power(a, b);
  if (op == "/" || op == "//" || op == "%")
    if (b.number() == 0)
      fail(op == "/" ? "division by zero" : "integer division or modulo by zero");
  if (op == "/")
    return a.number() / b.number();
  if (whole) {
    const Int x = a.integer(), y = b.integer();
    Int out = 0;
    if (op == "//")
      return floor_divide(x, y);
    if (op == "%")
      return modulo(x, y);
    const bool overflow = op == "+"   ? __builtin_add_overflow(x, y, &out)
                          : op == "-" ? __builtin_sub_overflow(x, y, &out)
                                      : __builtin_mul_overflow(x, y, &out);
    if (overflow)
      too_large();
    return out;
  }
  const double x = a.number(), y = b.number();
  if (op == "//")
    return std::floor(x / y);
  if (op == "%")
    return float_modulo(x, y);
  return op == "+" ? x + y : op == "-" ? x - y : x * y;
}

bool is_kind(const Value& value, Sequence::Kind kind) {
  return value.is_sequence() && value.sequence().kind == kind;
}
bool is_list_or_tuple(const Value& value) {
  return is_kind(value, Sequence::Kind::list) || is_kind(value, Sequence::Kind::tuple);
}

Value repeated(const Value& what, Int count, Budget& budget) {
  const auto times = std::uint64_t(std::max<Int>(count, 0));
  if (what.is_text()) {
    const std::string& text = what.text();
    if (text.empty() || times == 0)
      return "";
    budget.bytes(times > (std::uint64_t(1) << 40) ? times : times * text.size());
    std::string out;
    out.reserve(text.size() * times);
    for (std::uint64_t i = 0; i < times; ++i)
      out += text;
    return out;
  }
  const auto& items = what.sequence().items;
  if (!items.empty())
    budget.items(times > (std::uint64_t(1) << 40) ? times : times * items.size());
  std::vector<Value> out;
  for (std::uint64_t i = 0; i < times && !items.empty(); ++i)
    out.insert(out.end(), items.begin(), items.end());
  return make_sequence(what.sequence().kind, std::move(out), budget);
}

} // namespace

Value binary_operation(const std::string& op, const Value& a, const Value& b, Budget& budget) {
  if (op == "%" && a.is_text())
    return make_text(percent_format(a.text(), b, budget), budget);
  if (a.is_undefined() || b.is_undefined())
    fail(a.is_undefined() ? a.why_undefined() : b.why_undefined());
  if (a.is_number() && b.is_number())
    return numbers(op, a, b);
  if (op == "+") {
    if (a.is_text() && b.is_text())
      return make_text(a.text() + b.text(), budget);
    if (is_list_or_tuple(a) && b.is_sequence() && a.sequence().kind == b.sequence().kind) {
      std::vector<Value> items = a.sequence().items;
      budget.items(b.sequence().items.size());
      items.insert(items.end(), b.sequence().items.begin(), b.sequence().items.end());
      return make_sequence(a.sequence().kind, std::move(items), budget);
    }
    if (a.is_text())
      fail("can only concatenate str (not \"" + b.type_name() + "\") to str");
    if (is_list_or_tuple(a))
      fail("can only concatenate " + a.type_name() + " (not \"" + b.type_name() + "\") to " +
           a.type_name());
  }
  if (op == "*") {
    if ((a.is_text() || is_list_or_tuple(a)) && b.is_integral())
      return repeated(a, b.integer(), budget);
    if ((b.is_text() || is_list_or_tuple(b)) && a.is_integral())
      return repeated(b, a.integer(), budget);
  }
  unsupported(op, a, b);
}

Value unary_operation(const std::string& op, const Value& a) {
  if (a.is_undefined())
    fail(a.why_undefined());
  if (!a.is_number())
    fail("bad operand type for unary " + op + ": '" + a.type_name() + "'");
  if (a.is_float())
    return op == "-" ? -a.number() : a.number();
  if (op == "-" && a.integer() == INT64_MIN)
    too_large();
  return op == "-" ? -a.integer() : a.integer();
}

// --- slices
// ---------------------------------------------------------------------------------------

Value slice_of(const Value& object, const Value& start, const Value& stop, const Value& step,
               Budget& budget) {
  const bool sequence =
      object.is_sequence() && (is_list_or_tuple(object) || is_kind(object, Sequence::Kind::range));
  const auto fits = [](const Value& bound) { return bound.is_none() || bound.is_integral(); };
  if (!(sequence || object.is_text()) || !fits(start) || !fits(stop) || !fits(step))
    return Value::undefined("'" + object.type_name() + " object' cannot be sliced like that");
  const Int by = step.is_none() ? 1 : step.integer();
  if (by == 0)
    fail("slice step cannot be zero");
  std::u32string characters;
  if (object.is_text()) {
    budget.scan(object.text().size() * 4);
    characters = wide(object.text());
  }
  const Int size = sequence ? Int(object.sequence().items.size()) : Int(characters.size());
  const auto bound = [&](const Value& value, Int otherwise) {
    if (value.is_none())
      return otherwise;
    Int at = value.integer();
    if (at < 0)
      at = at < -size ? -1 : at + size;
    if (at < 0)
      return by < 0 ? Int(-1) : Int(0);
    return at >= size ? (by < 0 ? size - 1 : size) : at;
  };
  const Int from = bound(start, by < 0 ? size - 1 : 0), to = bound(stop, by < 0 ? -1 : size);
  std::u32string text;
  std::vector<Value> items;
  for (Int at = from; by > 0 ? at < to : at > to;) {
    budget.step();
    if (sequence)
      items.push_back(object.sequence().items[std::size_t(at)]);
    else
      text += characters[std::size_t(at)];
    if (__builtin_add_overflow(at, by, &at))
      break;
  }
  if (sequence)
    return make_sequence(object.sequence().kind, std::move(items), budget);
  return make_text(narrow(text), budget);
}

} // namespace bitlathe::jinja
