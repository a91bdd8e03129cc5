// SPDX-License-Identifier: Apache-2.0
// Runs a parsed template. Scopes follow Jinja: a loop, a macro and a block have their own, an if
// has not; what is set inside a scope is not seen outside of it, except attributes of a namespace.
#pragma once

#include "core/chat/jinja/ast.h"
#include "core/chat/jinja/nested.h"

#include <functional>
#include <memory>
#include <unordered_map>

namespace bitlathe::jinja {

struct Scope;
using ScopePtr = std::shared_ptr<Scope>;
struct Scope {
  ScopePtr parent;
  std::unordered_map<std::string, Value> names;
  bool kept = false; ///< a macro remembers it

  const Value* find(const std::string& name) const;
};

class Macro;

class Interpreter {
 public:
  /// `now`: seconds since 1970, for strftime_now.
  explicit Interpreter(std::int64_t now) : now_(now) {}
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  std::string render(const Body& body, Dict variables);

  Budget& budget() { return budget_; }
  int line() const { return line_; }
  std::int64_t now() const { return now_; }

  // What filters, methods and objects use.
  Value call(const Value& callee, Arguments& arguments);
  Value attribute(const Value& object, const std::string& name); ///< object.name
  Value item(const Value& object, const Value& key);             ///< object[key]
  Value filter(const std::string& name, const Value& value, Arguments& arguments);
  bool test(const std::string& name, const Value& value, Arguments& arguments);
  bool contains(const Value& container, const Value& value);
  Value binary(const std::string& op, const Value& a, const Value& b);
  std::string text(const Value& value) { return to_text(value, budget_); }
  Value run_macro(const Macro& macro, Arguments& arguments);
  Value run_loop_again(const Statement& loop, const ScopePtr& scope, const Value& items, int depth);
  Value evaluate(const Expression& expression, const ScopePtr& scope);
  void assign(const Expression& target, Value value, const ScopePtr& scope);
  /// Objects that may come to hold themselves are released at the end.
  void keep(std::shared_ptr<Object> object) { objects_.push_back(std::move(object)); }
  void check_stack() const { guard_.check(line_); }

 private:
  enum class Flow { normal, broken, continued };

  // statements.cpp
  Flow run(const Body& body, const ScopePtr& scope);
  Flow run(const Statement& statement, const ScopePtr& scope);
  Flow run_loop(const Statement& loop, const ScopePtr& scope, const Value& items, int depth);
  Flow run_set_block(const Statement& statement, const ScopePtr& scope);
  Flow run_with(const Statement& statement, const ScopePtr& scope);
  Flow run_filter(const Statement& statement, const ScopePtr& scope);
  void run_call_block(const Statement& statement, const ScopePtr& scope);
  void define_macro(const Statement& statement, const ScopePtr& scope);
  Value make_macro(const Statement& statement, const ScopePtr& scope);
  void write(std::string_view text);
  /// What `body` writes, as text.
  Flow captured(const Body& body, const ScopePtr& scope, std::string& text);

  // evaluate.cpp
  Value name(const Expression& expression, const ScopePtr& scope);
  Value compare(const Expression& expression, const ScopePtr& scope);
  Value slice(const Expression& expression, const ScopePtr& scope);
  Value conditional(const Expression& expression, const ScopePtr& scope);
  Value dict(const Expression& expression, const ScopePtr& scope);
  Value concat(const Expression& expression, const ScopePtr& scope);
  Value call(const Expression& expression, const ScopePtr& scope, const Value* caller);
  Value filter(const Expression& expression, const ScopePtr& scope);
  Value test(const Expression& expression, const ScopePtr& scope);
  std::vector<Value> parts(const Expression& expression, const ScopePtr& scope);
  Arguments arguments(const CallArguments& given, const ScopePtr& scope);

  Budget budget_;
  StackGuard guard_;
  std::int64_t now_;
  int line_ = 0;
  std::string* out_ = nullptr;
  const Value* input_ = nullptr; ///< of a filter without a left side
  ScopePtr root_;
  // What may end up in a ring; emptied at the end.
  std::vector<ScopePtr> kept_;
  std::vector<std::shared_ptr<Object>> objects_;
};

// --- operators.cpp, access.cpp
// --------------------------------------------------------------------

Value binary_operation(const std::string& op, const Value& a, const Value& b, Budget& budget);
Value unary_operation(const std::string& op, const Value& a);
/// start, stop and step are integers or none.
Value slice_of(const Value& object, const Value& start, const Value& stop, const Value& step,
               Budget& budget);
/// Python's "..." % value.
std::string percent_format(const std::string& format, const Value& value, Budget& budget);
/// "{}".format(...)
std::string brace_format(Interpreter& interpreter, const std::string& format,
                         const Arguments& arguments);

// --- tables
// ---------------------------------------------------------------------------------------

using FilterFunction = Value (*)(Interpreter&, const Value& value, Arguments& arguments);
using TestFunction = bool (*)(Interpreter&, const Value& value, Arguments& arguments);
FilterFunction find_filter(const std::string& name);
FilterFunction find_text_filter(const std::string& name);   ///< part of find_filter
FilterFunction find_number_filter(const std::string& name); ///< part of find_filter
TestFunction find_test(const std::string& name);
/// A method of a text, a list or a dict; null when the type has none of that name.
FilterFunction find_method(const Value& object, const std::string& name);
FilterFunction find_text_method(const std::string& name); ///< part of find_method
/// Methods that would change their object: transformers' sandbox refuses them.
bool changes_object(const Value& object, const std::string& name);
void add_globals(Scope& scope);

} // namespace bitlathe::jinja
