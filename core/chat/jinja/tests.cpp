// SPDX-License-Identifier: Apache-2.0
// Tests: `value is name`.
#include "core/chat/jinja/objects.h"
#include "core/chat/jinja/text.h"

namespace bitlathe::jinja {
namespace {

Value other(const char* name, const Arguments& arguments) {
  return Bound(name, arguments, {"other"}, 1)[0];
}

std::int64_t whole(const char* name, const Value& value) {
  if (value.is_undefined())
    fail(value.why_undefined());
  if (!value.is_integral())
    fail("The test " + std::string(name) + " needs an integer, not " + value.type_name());
  return value.integer();
}

bool all_cased(const std::string& text, bool wanted_upper) {
  bool any = false;
  for (std::size_t at = 0; at < text.size(); at += character_size(text, at)) {
    const std::uint32_t c = character_at(text, at);
    if (wanted_upper ? lower_case(c) : upper_case(c))
      return false;
    if (title_case(c))
      return false;
    any = any || (wanted_upper ? upper_case(c) : lower_case(c));
  }
  return any;
}

using T = bool (*)(Interpreter&, const Value&, Arguments&);

const std::unordered_map<std::string, T>& table() {
  static const T eq = [](Interpreter& at, const Value& v, Arguments& a) {
    return equal(v, other("eq", a), at.budget());
  };
  static const T ne = [](Interpreter& at, const Value& v, Arguments& a) {
    return !equal(v, other("ne", a), at.budget());
  };
  static const T lt = [](Interpreter& at, const Value& v, Arguments& a) {
    return less(v, other("lt", a), "<", at.budget());
  };
  static const T gt = [](Interpreter& at, const Value& v, Arguments& a) {
    return less(other("gt", a), v, ">", at.budget());
  };
  static const T le = [](Interpreter& at, const Value& v, Arguments& a) {
    return less_or_equal(v, other("le", a), "<=", at.budget());
  };
  static const T ge = [](Interpreter& at, const Value& v, Arguments& a) {
    return less_or_equal(other("ge", a), v, ">=", at.budget());
  };
  static const std::unordered_map<std::string, T> all{
      {"defined", [](Interpreter&, const Value& v, Arguments&) { return !v.is_undefined(); }},
      {"undefined", [](Interpreter&, const Value& v, Arguments&) { return v.is_undefined(); }},
      {"none", [](Interpreter&, const Value& v, Arguments&) { return v.is_none(); }},
      {"boolean", [](Interpreter&, const Value& v, Arguments&) { return v.is_bool(); }},
      {"true", [](Interpreter&, const Value& v, Arguments&) { return v.is_bool() && v.truth(); }},
      {"false", [](Interpreter&, const Value& v, Arguments&) { return v.is_bool() && !v.truth(); }},
      {"integer", [](Interpreter&, const Value& v, Arguments&) { return v.is_int(); }},
      {"float", [](Interpreter&, const Value& v, Arguments&) { return v.is_float(); }},
      {"number", [](Interpreter&, const Value& v, Arguments&) { return v.is_number(); }},
      {"string", [](Interpreter&, const Value& v, Arguments&) { return v.is_text(); }},
      {"mapping", [](Interpreter&, const Value& v, Arguments&) { return v.is_dict(); }},
      {"sequence",
       [](Interpreter&, const Value& v, Arguments&) {
         return v.is_text() || v.is_dict() || v.is_undefined() ||
                (v.is_sequence() && (v.sequence().kind == Sequence::Kind::list ||
                                     v.sequence().kind == Sequence::Kind::tuple ||
                                     v.sequence().kind == Sequence::Kind::range));
       }},
      {"iterable", [](Interpreter&, const Value& v, Arguments&) { return iterable(v); }},
      {"callable",
       [](Interpreter&, const Value& v, Arguments&) {
         return v.is_undefined() || (v.is_object() && v.object().callable());
       }},
      {"escaped", [](Interpreter&, const Value&, Arguments&) { return false; }},
      {"sameas", [](Interpreter&, const Value& v,
                    Arguments& a) { return v.same_object(other("sameas", a)); }},
      {"odd", [](Interpreter&, const Value& v, Arguments&) { return (whole("odd", v) & 1) == 1; }},
      {"even",
       [](Interpreter&, const Value& v, Arguments&) { return (whole("even", v) & 1) == 0; }},
      {"divisibleby",
       [](Interpreter&, const Value& v, Arguments& a) {
         const std::int64_t by = Bound("divisibleby", a, {"num"}, 1).integer(0, 1);
         if (by == 0)
           fail("integer modulo by zero");
         return by == -1 || whole("divisibleby", v) % by == 0;
       }},
      {"in", [](Interpreter& at, const Value& v,
                Arguments& a) { return at.contains(Bound("in", a, {"seq"}, 1)[0], v); }},
      {"lower",
       [](Interpreter& at, const Value& v, Arguments&) { return all_cased(at.text(v), false); }},
      {"upper",
       [](Interpreter& at, const Value& v, Arguments&) { return all_cased(at.text(v), true); }},
      {"filter", [](Interpreter&, const Value& v,
                    Arguments&) { return v.is_text() && find_filter(v.text()) != nullptr; }},
      {"test", [](Interpreter&, const Value& v,
                  Arguments&) { return v.is_text() && find_test(v.text()) != nullptr; }},
      {"eq", eq},
      {"equalto", eq},
      {"==", eq},
      {"ne", ne},
      {"!=", ne},
      {"lt", lt},
      {"<", lt},
      {"lessthan", lt},
      {"gt", gt},
      {">", gt},
      {"le", le},
      {"<=", le},
      {"greaterthan", gt},
      {"ge", ge},
      {">=", ge},
  };
  return all;
}

} // namespace

TestFunction find_test(const std::string& name) {
  const auto it = table().find(name);
  return it == table().end() ? nullptr : it->second;
}

} // namespace bitlathe::jinja
