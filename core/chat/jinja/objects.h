// SPDX-License-Identifier: Apache-2.0
// Things in a template that are more than data.
#pragma once

#include "core/chat/jinja/interpreter.h"

#include <optional>
#include <utility>

namespace bitlathe::jinja {

class Function final : public Object {
 public:
  using Body = std::function<Value(Interpreter&, Arguments&)>;
  Function(std::string name, Body body) : name_(std::move(name)), body_(std::move(body)) {}
  std::string type_name() const override { return "function"; }
  std::string text() const override { return "<function " + name_ + ">"; }
  bool callable() const override { return true; }
  Value call(Interpreter& interpreter, Arguments& arguments) override {
    return body_(interpreter, arguments);
  }

 private:
  std::string name_;
  Body body_;
};

class Macro final : public Object {
 public:
  Macro(const Statement& definition, ScopePtr home)
      : statement(definition), scope(std::move(home)) {}
  std::string type_name() const override { return "Macro"; }
  std::string text() const override;
  bool callable() const override { return true; }
  Value call(Interpreter& interpreter, Arguments& arguments) override {
    return interpreter.run_macro(*this, arguments);
  }
  bool get(Interpreter& interpreter, const std::string& name, Value& out) override;

  const Statement& statement;
  const ScopePtr scope;
};

class Namespace final : public Object {
 public:
  std::string type_name() const override { return "Namespace"; }
  std::string text() const override { return "<Namespace>"; }
  bool get(Interpreter& interpreter, const std::string& name, Value& out) override;
  void release() override { // taken out first, so that chains do not recurse
    const auto taken = std::exchange(attributes, {});
  }
  std::unordered_map<std::string, Value> attributes;
};

/// The variable `loop`, and the loop's way through its items: one at a time, because a condition
/// may depend on what the body did before.
class Loop final : public Object, public std::enable_shared_from_this<Loop> {
 public:
  Loop(Interpreter& interpreter, const Statement& statement, ScopePtr scope,
       std::vector<Value> items, int depth)
      : interpreter_(interpreter), statement_(statement), scope_(std::move(scope)),
        items_(std::move(items)), depth_(depth) {}
  bool next(); ///< to the next item
  const Value& item() const { return current_; }
  void release() override { changed_.reset(); }

  std::string type_name() const override { return "LoopContext"; }
  std::string text() const override;
  bool callable() const override { return true; }
  Value call(Interpreter& interpreter, Arguments& arguments) override;
  bool get(Interpreter& interpreter, const std::string& name, Value& out) override;

 private:
  std::optional<Value> pull(); ///< the next item that meets the condition
  const std::optional<Value>& peek();
  std::int64_t length();

  Interpreter& interpreter_;
  const Statement& statement_;
  ScopePtr scope_;
  std::vector<Value> items_; ///< with a condition: those that met it are moved to the front
  std::size_t at_ = 0;
  int depth_;
  std::int64_t index0_ = -1;
  Value before_, current_;
  std::optional<Value> after_;
  bool peeked_ = false, filtered_ = false;
  std::optional<std::int64_t> length_;
  std::optional<std::vector<Value>> changed_;
};

/// Arguments of a call under their names, with Python's complaints.
class Bound {
 public:
  Bound(const char* function, const Arguments& given, std::initializer_list<const char*> names,
        std::size_t required = 0);
  bool has(std::size_t i) const { return values_[i] != nullptr; }
  bool given(std::size_t i) const { return has(i) && !values_[i]->is_none(); }
  const Value& operator[](std::size_t i) const { return *values_[i]; }
  std::int64_t integer(std::size_t i, std::int64_t otherwise) const;
  bool truth(std::size_t i, bool otherwise) const {
    return has(i) ? values_[i]->truth() : otherwise;
  }
  const std::string& text(std::size_t i) const; ///< must be a text

 private:
  std::string function_;
  std::vector<const Value*> values_;
  std::vector<const char*> names_;
};

inline Value make_function(std::string name, Function::Body body) {
  return Value(Value::Thing(std::make_shared<Function>(std::move(name), std::move(body))));
}

} // namespace bitlathe::jinja
