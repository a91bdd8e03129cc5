// SPDX-License-Identifier: Apache-2.0
// Statements of a template, run.
#include "core/chat/jinja/objects.h"

#include <algorithm>
#include <utility>

namespace bitlathe::jinja {

namespace {

ScopePtr inner(const ScopePtr& parent) {
  auto out = std::make_shared<Scope>();
  out->parent = parent;
  return out;
}

/// Restores a value at the end of a block, also when it is left by an error.
template <class T> class Restored {
 public:
  Restored(T& place, T now) : place_(place), before_(place) { place = now; }
  ~Restored() { place_ = before_; }
  Restored(const Restored&) = delete;
  Restored& operator=(const Restored&) = delete;

 private:
  T& place_;
  T before_;
};

} // namespace

const Value* Scope::find(const std::string& name) const {
  for (const Scope* scope = this; scope; scope = scope->parent.get())
    if (const auto it = scope->names.find(name); it != scope->names.end())
      return &it->second;
  return nullptr;
}

Interpreter::~Interpreter() {
  for (const auto& scope : kept_)
    scope->names.clear();
  for (const auto& object : objects_)
    object->release();
}

std::string Interpreter::render(const Body& body, Dict variables) {
  root_ = std::make_shared<Scope>();
  add_globals(*root_);
  for (auto& [key, value] : variables.entries)
    root_->names[key.text()] = std::move(value);
  std::string text;
  out_ = &text;
  try {
    run(body, root_);
  } catch (TemplateError& error) {
    if (error.line == 0)
      error.line = line_;
    throw;
  }
  return text;
}

void Interpreter::write(std::string_view text) {
  budget_.bytes(text.size());
  *out_ += text;
}

Interpreter::Flow Interpreter::captured(const Body& body, const ScopePtr& scope,
                                        std::string& text) {
  const Restored<std::string*> restored(out_, &text);
  return run(body, scope);
}

Interpreter::Flow Interpreter::run(const Body& body, const ScopePtr& scope) {
  guard_.check(line_);
  for (const auto& statement : body)
    if (const Flow flow = run(*statement, scope); flow != Flow::normal)
      return flow;
  return Flow::normal;
}

Interpreter::Flow Interpreter::run(const Statement& s, const ScopePtr& scope) {
  budget_.step();
  line_ = s.line;
  switch (s.kind) {
  case Statement::Kind::text:
    write(s.text);
    return Flow::normal;
  case Statement::Kind::output:
    for (const auto& expression : s.expressions)
      write(text(evaluate(*expression, scope)));
    return Flow::normal;
  case Statement::Kind::condition:
    for (std::size_t i = 0; i < s.expressions.size(); ++i)
      if (evaluate(*s.expressions[i], scope).truth())
        return run(s.bodies[i], scope);
    return run(s.bodies.back(), scope);
  case Statement::Kind::loop:
    return run_loop(s, scope, evaluate(*s.expressions[0], scope), 0);
  case Statement::Kind::set:
    assign(*s.targets[0], evaluate(*s.expressions[0], scope), scope);
    return Flow::normal;
  case Statement::Kind::set_block:
    return run_set_block(s, scope);
  case Statement::Kind::with:
    return run_with(s, scope);
  case Statement::Kind::macro:
    define_macro(s, scope);
    return Flow::normal;
  case Statement::Kind::call_block:
    run_call_block(s, scope);
    return Flow::normal;
  case Statement::Kind::filter:
    return run_filter(s, scope);
  case Statement::Kind::scope:
    return run(s.bodies[0], inner(scope));
  case Statement::Kind::block:
    return run(s.bodies[0], inner(s.recursive ? scope : root_));
  case Statement::Kind::break_loop:
    return Flow::broken;
  case Statement::Kind::continue_loop:
    return Flow::continued;
  }
  return Flow::normal;
}

Interpreter::Flow Interpreter::run_loop(const Statement& s, const ScopePtr& scope,
                                        const Value& items, int depth) {
  guard_.check(line_);
  if (items.is_object() || (!iterable(items) && !items.is_undefined()))
    fail("'" + items.type_name() + "' object is not iterable", s.line);
  const auto loop = std::make_shared<Loop>(*this, s, scope, items_of(items, budget_), depth);
  bool any = false; // as in Jinja: an iteration that ends early does not count
  while (loop->next()) {
    budget_.step(4);
    const ScopePtr inside = inner(scope);
    assign(*s.targets[0], loop->item(), inside);
    inside->names["loop"] = Value(Value::Thing(loop));
    const Flow flow = run(s.bodies[0], inside);
    if (flow == Flow::broken)
      break;
    any = any || flow == Flow::normal;
    line_ = s.line;
  }
  if (!any)
    return run(s.bodies[1], inner(scope));
  return Flow::normal;
}

Value Interpreter::run_loop_again(const Statement& loop, const ScopePtr& scope, const Value& items,
                                  int depth) {
  std::string text;
  {
    const Restored<std::string*> restored(out_, &text);
    run_loop(loop, scope, items, depth);
  }
  return make_text(std::move(text), budget_);
}

Interpreter::Flow Interpreter::run_set_block(const Statement& s, const ScopePtr& scope) {
  std::string text;
  if (const Flow flow = captured(s.bodies[0], inner(scope), text); flow != Flow::normal)
    return flow;
  Value value = make_text(std::move(text), budget_);
  if (s.expressions[0]) {
    const Restored<const Value*> restored(input_, &value);
    assign(*s.targets[0], evaluate(*s.expressions[0], scope), scope);
  } else {
    assign(*s.targets[0], std::move(value), scope);
  }
  return Flow::normal;
}

Interpreter::Flow Interpreter::run_filter(const Statement& s, const ScopePtr& scope) {
  std::string inside;
  const ScopePtr own = inner(scope);
  if (const Flow flow = captured(s.bodies[0], own, inside); flow != Flow::normal)
    return flow;
  const Value value = make_text(std::move(inside), budget_);
  const Restored<const Value*> restored(input_, &value);
  write(text(evaluate(*s.expressions[0], own)));
  return Flow::normal;
}

Interpreter::Flow Interpreter::run_with(const Statement& s, const ScopePtr& scope) {
  const ScopePtr inside = inner(scope);
  for (std::size_t i = 0; i < s.targets.size(); ++i)
    assign(*s.targets[i], evaluate(*s.expressions[i], scope), inside);
  return run(s.bodies[0], inside);
}

// --- macros
// ---------------------------------------------------------------------------------------

Value Interpreter::make_macro(const Statement& s, const ScopePtr& scope) {
  if (!scope->kept) {
    scope->kept = true;
    kept_.push_back(scope);
  }
  return Value(Value::Thing(std::make_shared<Macro>(s, scope)));
}

void Interpreter::define_macro(const Statement& s, const ScopePtr& scope) {
  scope->names[s.name] = make_macro(s, scope);
}

void Interpreter::run_call_block(const Statement& s, const ScopePtr& scope) {
  const Value caller = make_macro(s, scope);
  write(text(call(*s.expressions[0], scope, &caller)));
}

Value Interpreter::run_macro(const Macro& macro, Arguments& given) {
  guard_.check(line_);
  budget_.step(4);
  const Statement& s = macro.statement;
  const auto& names = s.signature.names;
  const ScopePtr scope = inner(macro.scope);
  std::vector<bool> set(names.size(), false);
  for (std::size_t i = 0; i < std::min(names.size(), given.positional.size()); ++i) {
    scope->names[names[i]] = given.positional[i];
    set[i] = true;
  }
  Dict others;
  Value caller = Value::undefined("No caller defined");
  for (auto& [name, value] : given.keywords) {
    std::size_t i = 0;
    while (i < names.size() && (name != names[i] || set[i]))
      ++i;
    if (i < names.size()) {
      scope->names[name] = value;
      set[i] = true;
    } else if (name == "caller" && s.uses_caller) {
      caller = value;
    } else if (s.uses_kwargs) {
      others.set(Value(name), value, budget_);
    } else {
      fail("macro '" + s.name + "' takes no keyword argument '" + name + "'");
    }
  }
  if (s.uses_caller && !scope->names.count("caller"))
    scope->names["caller"] = caller;
  if (s.uses_kwargs && !scope->names.count("kwargs"))
    scope->names["kwargs"] = make_dict(std::move(others));
  if (s.uses_varargs && !scope->names.count("varargs")) {
    std::vector<Value> more;
    for (std::size_t i = names.size(); i < given.positional.size(); ++i)
      more.push_back(given.positional[i]);
    scope->names["varargs"] = make_tuple(std::move(more), budget_);
  } else if (given.positional.size() > names.size()) {
    fail("macro '" + s.name + "' takes not more than " + std::to_string(names.size()) +
         " argument(s)");
  }
  const std::size_t plain = names.size() - s.signature.defaults.size();
  for (std::size_t i = 0; i < names.size(); ++i)
    if (!set[i])
      scope->names[names[i]] =
          i < plain ? Value::undefined("parameter '" + names[i] + "' was not provided")
                    : evaluate(*s.signature.defaults[i - plain], scope);
  std::string text;
  const int line = line_;
  captured(s.bodies[0], scope, text);
  line_ = line;
  return make_text(std::move(text), budget_);
}

// --- targets
// --------------------------------------------------------------------------------------

void Interpreter::assign(const Expression& target, Value value, const ScopePtr& scope) {
  if (target.kind == Expression::Kind::name) {
    scope->names[target.name] = std::move(value);
    return;
  }
  if (target.kind == Expression::Kind::namespace_attribute) {
    const Value* place = scope->find(target.name);
    auto* space = place ? place->as<Namespace>() : nullptr;
    if (!space)
      fail("Only attributes of a namespace() can be assigned to; '" + target.name + "' is none",
           target.line);
    space->attributes[target.operators[0]] = std::move(value);
    return;
  }
  if (value.is_undefined())
    fail(value.why_undefined(), target.line);
  const std::vector<Value> items = items_of(value, budget_);
  if (items.size() != target.parts.size())
    fail(items.size() > target.parts.size()
             ? "too many values to unpack (expected " + std::to_string(target.parts.size()) + ")"
             : "not enough values to unpack (expected " + std::to_string(target.parts.size()) +
                   ", got " + std::to_string(items.size()) + ")",
         target.line);
  for (std::size_t i = 0; i < items.size(); ++i)
    assign(*target.parts[i], items[i], scope);
}

} // namespace bitlathe::jinja
