// SPDX-License-Identifier: Apache-2.0
// A parsed template.
#pragma once

#include "core/chat/jinja/value.h"

#include <memory>

namespace bitlathe::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct CallArguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> keywords;
  ExpressionPtr more_positional, more_keywords; ///< *args, **kwargs
};

struct Expression {
  enum class Kind {
    constant,            ///< value
    name,                ///< name
    list,                ///< parts
    tuple,               ///< parts
    dict,                ///< parts: key, value, key, value, ...
    item,                ///< parts: object, key
    attribute,           ///< parts: object; name
    slice,               ///< parts: object, start, stop, step, each of the three may be null
    call,                ///< parts: function; arguments
    filter,              ///< parts: value (null in {% filter %}); name, arguments
    test,                ///< parts: value; name, arguments
    unary,               ///< name: "-", "+"
    binary,              ///< name: "+", "-", "*", "/", "//", "%", "**"
    compare,             ///< parts: first, second, ...; operators between them
    concat,              ///< parts
    logic_and,           ///< parts: two
    logic_or,            ///< parts: two
    logic_not,           ///< parts: one
    conditional,         ///< parts: then, condition, else (may be null)
    namespace_attribute, ///< as a target: name (of the variable), operators[0] (attribute)
  };
  Kind kind = Kind::constant;
  int line = 0;
  int depth = 1;
  std::string name;
  Value value;
  std::vector<ExpressionPtr> parts;
  std::vector<std::string> operators;
  std::unique_ptr<CallArguments> arguments;
};

struct Statement;
using Body = std::vector<std::unique_ptr<Statement>>;

/// Parameters of a macro or a call block.
struct Signature {
  std::vector<std::string> names;
  std::vector<ExpressionPtr> defaults; ///< of the last ones
};

struct Statement {
  enum class Kind {
    text,       ///< text
    output,     ///< expressions
    condition,  ///< expressions[i] -> bodies[i]; one more body: else
    loop,       ///< target, expressions[0]; condition; bodies: body, else
    set,        ///< target, expressions[0]
    set_block,  ///< target, expressions[0] (filters or null), bodies[0]
    with,       ///< targets, expressions, bodies[0]
    macro,      ///< name, signature, bodies[0]
    call_block, ///< signature, expressions[0], bodies[0]
    filter,     ///< expressions[0], bodies[0]
    scope,      ///< bodies[0]: {% generation %}
    block,      ///< bodies[0]; recursive: scoped
    break_loop,
    continue_loop,
  };
  Kind kind = Kind::text;
  int line = 0;
  std::string text, name;
  std::vector<ExpressionPtr> expressions, targets;
  ExpressionPtr condition;
  std::vector<Body> bodies;
  Signature signature;
  bool recursive = false;
  bool uses_varargs = false, uses_kwargs = false, uses_caller = false;
};

} // namespace bitlathe::jinja
