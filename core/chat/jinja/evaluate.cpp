// SPDX-License-Identifier: Apache-2.0
// Expressions of a template, evaluated.
#include "core/chat/jinja/objects.h"
#include "core/chat/jinja/text.h"

namespace bitlathe::jinja {

Value Interpreter::evaluate(const Expression& e, const ScopePtr& scope) {
  guard_.check(e.line);
  budget_.step();
  line_ = e.line;
  switch (e.kind) {
  case Expression::Kind::constant:
    return e.value;
  case Expression::Kind::name:
    return name(e, scope);
  case Expression::Kind::list:
    return make_list(parts(e, scope), budget_);
  case Expression::Kind::tuple:
    return make_tuple(parts(e, scope), budget_);
  case Expression::Kind::dict:
    return dict(e, scope);
  case Expression::Kind::item: {
    const Value object = evaluate(*e.parts[0], scope);
    return item(object, evaluate(*e.parts[1], scope));
  }
  case Expression::Kind::attribute:
    return attribute(evaluate(*e.parts[0], scope), e.name);
  case Expression::Kind::slice:
    return slice(e, scope);
  case Expression::Kind::call:
    return call(e, scope, nullptr);
  case Expression::Kind::filter:
    return filter(e, scope);
  case Expression::Kind::test:
    return test(e, scope);
  case Expression::Kind::unary:
    return unary_operation(e.name, evaluate(*e.parts[0], scope));
  case Expression::Kind::binary: {
    const Value left = evaluate(*e.parts[0], scope);
    const Value right = evaluate(*e.parts[1], scope);
    line_ = e.line;
    return binary(e.name, left, right);
  }
  case Expression::Kind::compare:
    return compare(e, scope);
  case Expression::Kind::concat:
    return concat(e, scope);
  case Expression::Kind::logic_and: {
    Value left = evaluate(*e.parts[0], scope);
    return left.truth() ? evaluate(*e.parts[1], scope) : left;
  }
  case Expression::Kind::logic_or: {
    Value left = evaluate(*e.parts[0], scope);
    return left.truth() ? left : evaluate(*e.parts[1], scope);
  }
  case Expression::Kind::logic_not:
    return !evaluate(*e.parts[0], scope).truth();
  case Expression::Kind::conditional:
    return conditional(e, scope);
  case Expression::Kind::namespace_attribute: // a target only
    break;
  }
  fail("This expression has no value", e.line);
}

Value Interpreter::name(const Expression& e, const ScopePtr& scope) {
  const Value* found = scope->find(e.name);
  return found ? *found : Value::undefined("'" + e.name + "' is undefined");
}

std::vector<Value> Interpreter::parts(const Expression& e, const ScopePtr& scope) {
  std::vector<Value> out;
  out.reserve(e.parts.size());
  for (const auto& part : e.parts)
    out.push_back(evaluate(*part, scope));
  return out;
}

Value Interpreter::dict(const Expression& e, const ScopePtr& scope) {
  Dict out;
  for (std::size_t i = 0; i + 1 < e.parts.size(); i += 2) {
    const Value key = evaluate(*e.parts[i], scope);
    out.set(key, evaluate(*e.parts[i + 1], scope), budget_);
  }
  return make_dict(std::move(out));
}

Value Interpreter::concat(const Expression& e, const ScopePtr& scope) {
  std::string out;
  for (const auto& part : e.parts)
    out += text(evaluate(*part, scope));
  return make_text(std::move(out), budget_);
}

Value Interpreter::conditional(const Expression& e, const ScopePtr& scope) {
  if (evaluate(*e.parts[1], scope).truth())
    return evaluate(*e.parts[0], scope);
  if (e.parts[2])
    return evaluate(*e.parts[2], scope);
  return Value::undefined("the inline if-expression on line " + std::to_string(e.line) +
                          " evaluated to false and no else section was defined");
}

Value Interpreter::compare(const Expression& e, const ScopePtr& scope) {
  Value left = evaluate(*e.parts[0], scope);
  for (std::size_t i = 0; i < e.operators.size(); ++i) {
    Value right = evaluate(*e.parts[i + 1], scope);
    const std::string& op = e.operators[i];
    line_ = e.line;
    const bool holds = op == "=="   ? equal(left, right, budget_)
                       : op == "!=" ? !equal(left, right, budget_)
                       : op == "<"  ? less(left, right, "<", budget_)
                       : op == ">"  ? less(right, left, ">", budget_)
                       : op == "<=" ? less_or_equal(left, right, "<=", budget_)
                       : op == ">=" ? less_or_equal(right, left, ">=", budget_)
                       : op == "in" ? contains(right, left)
                                    : !contains(right, left);
    if (!holds)
      return false;
    left = std::move(right);
  }
  return true;
}

Value Interpreter::slice(const Expression& e, const ScopePtr& scope) {
  const Value object = evaluate(*e.parts[0], scope);
  Value bounds[3];
  for (std::size_t i = 0; i < 3; ++i)
    bounds[i] = e.parts[i + 1] ? evaluate(*e.parts[i + 1], scope) : Value(None{});
  line_ = e.line;
  if (object.is_undefined())
    fail(object.why_undefined());
  return slice_of(object, bounds[0], bounds[1], bounds[2], budget_);
}

Value Interpreter::binary(const std::string& op, const Value& a, const Value& b) {
  return binary_operation(op, a, b, budget_);
}

// --- calls, filters, tests
// ------------------------------------------------------------------------

Arguments Interpreter::arguments(const CallArguments& given, const ScopePtr& scope) {
  Arguments out;
  for (const auto& one : given.positional)
    out.positional.push_back(evaluate(*one, scope));
  for (const auto& [name, one] : given.keywords)
    out.keywords.emplace_back(name, evaluate(*one, scope));
  if (given.more_positional)
    for (Value& one : items_of(evaluate(*given.more_positional, scope), budget_))
      out.positional.push_back(std::move(one));
  if (given.more_keywords) {
    const Value more = evaluate(*given.more_keywords, scope);
    if (!more.is_dict())
      fail("The argument after ** must be a mapping, not " + more.type_name());
    for (const auto& [key, value] : more.dict().entries) {
      if (!key.is_text())
        fail("keywords must be strings");
      out.keywords.emplace_back(key.text(), value);
    }
  }
  budget_.items(out.positional.size() + out.keywords.size());
  return out;
}

Value Interpreter::call(const Expression& e, const ScopePtr& scope, const Value* caller) {
  const Value callee = evaluate(*e.parts[0], scope);
  Arguments given = arguments(*e.arguments, scope);
  if (caller)
    given.keywords.emplace_back("caller", *caller);
  line_ = e.line;
  return call(callee, given);
}

Value Interpreter::call(const Value& callee, Arguments& arguments) {
  guard_.check(line_);
  if (callee.is_undefined())
    fail(callee.why_undefined());
  if (!callee.is_object())
    fail("'" + callee.type_name() + "' object is not callable");
  return callee.object().call(*this, arguments);
}

Value Interpreter::filter(const Expression& e, const ScopePtr& scope) {
  const Value value = e.parts[0] ? evaluate(*e.parts[0], scope) : *input_;
  Arguments given = arguments(*e.arguments, scope);
  line_ = e.line;
  return filter(e.name, value, given);
}

Value Interpreter::filter(const std::string& name, const Value& value, Arguments& arguments) {
  const FilterFunction function = find_filter(name);
  if (!function)
    fail("The filter '" + name + "' is not known, or not supported in chat templates");
  guard_.check(line_);
  if (value.is_text())
    budget_.scan(value.text().size());
  return function(*this, value, arguments);
}

Value Interpreter::test(const Expression& e, const ScopePtr& scope) {
  const Value value = evaluate(*e.parts[0], scope);
  Arguments given = arguments(*e.arguments, scope);
  line_ = e.line;
  return test(e.name, value, given);
}

bool Interpreter::test(const std::string& name, const Value& value, Arguments& arguments) {
  const TestFunction function = find_test(name);
  if (!function)
    fail("The test '" + name + "' is not known, or not supported in chat templates");
  if (value.is_text())
    budget_.scan(value.text().size());
  return function(*this, value, arguments);
}

bool Interpreter::contains(const Value& container, const Value& value) {
  if (container.is_text()) {
    if (!value.is_text())
      fail("'in <string>' requires string as left operand, not " + value.type_name());
    budget_.step(container.text().size() / 64 + 1);
    return find_in(container.text(), value.text()) != std::string::npos;
  }
  if (container.is_dict())
    return container.dict().find(value, budget_) != nullptr;
  if (container.is_undefined())
    return false;
  if (!container.is_sequence())
    fail("argument of type '" + container.type_name() + "' is not iterable");
  Sequence& sequence = container.sequence();
  const bool once = sequence.kind == Sequence::Kind::generator;
  for (std::size_t i = once ? sequence.taken : 0; i < sequence.items.size(); ++i) {
    if (once)
      sequence.taken = i + 1;
    if (equal(sequence.items[i], value, budget_))
      return true;
  }
  return false;
}

} // namespace bitlathe::jinja
