// SPDX-License-Identifier: Apache-2.0
#include "core/chat/jinja/objects.h"

namespace bitlathe::jinja {

// --- arguments
// ------------------------------------------------------------------------------------

Bound::Bound(const char* function, const Arguments& given, std::initializer_list<const char*> names,
             std::size_t required)
    : function_(function), values_(names.size(), nullptr), names_(names) {
  if (given.positional.size() > names.size())
    fail(function_ + " takes at most " + std::to_string(names.size()) + " arguments, not " +
         std::to_string(given.positional.size()));
  for (std::size_t i = 0; i < given.positional.size(); ++i)
    values_[i] = &given.positional[i];
  for (const auto& [name, value] : given.keywords) {
    std::size_t i = 0;
    while (i < names_.size() && name != names_[i])
      ++i;
    if (i == names_.size())
      fail(function_ + " got an unexpected keyword argument '" + name + "'");
    if (values_[i])
      fail(function_ + " got multiple values for argument '" + name + "'");
    values_[i] = &value;
  }
  for (std::size_t i = 0; i < required; ++i)
    if (!values_[i])
      fail(function_ + " misses its argument '" + names_[i] + "'");
}

std::int64_t Bound::integer(std::size_t i, std::int64_t otherwise) const {
  if (!has(i))
    return otherwise;
  const Value& value = *values_[i];
  if (value.is_undefined())
    fail(value.why_undefined());
  if (!value.is_integral())
    fail(function_ + ": the argument '" + names_[i] + "' must be an integer, not " +
         value.type_name());
  return value.integer();
}

const std::string& Bound::text(std::size_t i) const {
  const Value& value = *values_[i];
  if (value.is_undefined())
    fail(value.why_undefined());
  if (!value.is_text())
    fail(function_ + ": the argument '" + names_[i] + "' must be a text, not " + value.type_name());
  return value.text();
}

// --- macros, namespaces
// ---------------------------------------------------------------------------

std::string Macro::text() const {
  return statement.name.empty() ? "<Macro anonymous>" : "<Macro '" + statement.name + "'>";
}

bool Macro::get(Interpreter& interpreter, const std::string& name, Value& out) {
  if (name == "name") {
    out = statement.name.empty() ? Value(None{}) : Value(statement.name);
  } else if (name == "arguments") {
    std::vector<Value> names;
    for (const std::string& one : statement.signature.names)
      names.emplace_back(one);
    out = make_tuple(std::move(names), interpreter.budget());
  } else if (name == "catch_kwargs") {
    out = statement.uses_kwargs;
  } else if (name == "catch_varargs") {
    out = statement.uses_varargs;
  } else if (name == "caller") {
    out = statement.uses_caller;
  } else {
    return false;
  }
  return true;
}

bool Namespace::get(Interpreter&, const std::string& name, Value& out) {
  const auto it = attributes.find(name);
  if (it == attributes.end())
    return false;
  out = it->second;
  return true;
}

// --- loops
// ----------------------------------------------------------------------------------------

std::optional<Value> Loop::pull() {
  while (at_ < items_.size()) {
    Value item = items_[at_++];
    interpreter_.budget().step();
    if (!statement_.condition || filtered_)
      return item;
    const auto scope = std::make_shared<Scope>();
    scope->parent = scope_;
    interpreter_.assign(*statement_.targets[0], item, scope);
    if (interpreter_.evaluate(*statement_.condition, scope).truth())
      return item;
  }
  return std::nullopt;
}

const std::optional<Value>& Loop::peek() {
  if (!peeked_) {
    after_ = pull();
    peeked_ = true;
  }
  return after_;
}

bool Loop::next() {
  std::optional<Value> item = peeked_ ? std::move(after_) : pull();
  peeked_ = false;
  after_.reset();
  if (!item)
    return false;
  ++index0_;
  before_ = std::move(current_);
  current_ = std::move(*item);
  return true;
}

std::int64_t Loop::length() {
  if (length_)
    return *length_;
  if (statement_.condition && !filtered_) { // all that is left has to be looked at now
    std::vector<Value> rest;
    while (auto item = pull())
      rest.push_back(std::move(*item));
    interpreter_.budget().items(rest.size());
    length_ = std::int64_t(rest.size()) + index0_ + 1 + (peeked_ && after_);
    items_ = std::move(rest);
    at_ = 0;
    filtered_ = true;
  } else {
    length_ = std::int64_t(items_.size());
  }
  return *length_;
}

std::string Loop::text() const {
  return "<LoopContext " + std::to_string(index0_ + 1) + "/" +
         std::to_string(length_ ? *length_ : std::int64_t(items_.size())) + ">";
}

Value Loop::call(Interpreter& interpreter, Arguments& arguments) {
  const Bound bound("loop", arguments, {"iterable"}, 1);
  if (!statement_.recursive)
    fail("The loop must have the 'recursive' marker to be called recursively");
  return interpreter.run_loop_again(statement_, scope_, bound[0], depth_ + 1);
}

bool Loop::get(Interpreter& interpreter, const std::string& name, Value& out) {
  if (name == "index")
    out = index0_ + 1;
  else if (name == "index0")
    out = index0_;
  else if (name == "first")
    out = index0_ == 0;
  else if (name == "last")
    out = !peek().has_value();
  else if (name == "length")
    out = length();
  else if (name == "revindex")
    out = length() - index0_;
  else if (name == "revindex0")
    out = length() - index0_ - 1;
  else if (name == "depth")
    out = std::int64_t(depth_ + 1);
  else if (name == "depth0")
    out = std::int64_t(depth_);
  else if (name == "previtem")
    out = index0_ == 0 ? Value::undefined("there is no previous item") : before_;
  else if (name == "nextitem")
    out = peek() ? *peek() : Value::undefined("there is no next item");
  else if (name == "cycle")
    out = make_function("cycle", [index = index0_](Interpreter&, Arguments& arguments) {
      if (arguments.positional.empty())
        fail("no items for cycling given");
      return arguments.positional[std::size_t(index) % arguments.positional.size()];
    });
  else if (name == "changed")
    out = make_function("changed",
                        [self = shared_from_this()](Interpreter& at, Arguments& arguments) {
                          auto& last = self->changed_;
                          bool same = last && last->size() == arguments.positional.size();
                          for (std::size_t i = 0; same && i < last->size(); ++i)
                            same = equal((*last)[i], arguments.positional[i], at.budget());
                          if (!last)
                            at.keep(self);
                          last = arguments.positional;
                          return Value(!same);
                        });
  else
    return false;
  interpreter.budget().step();
  return true;
}

} // namespace bitlathe::jinja
