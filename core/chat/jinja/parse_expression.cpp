// SPDX-License-Identifier: Apache-2.0
// Expressions of a template. The levels are Jinja's, from loose to tight: inline if, or, and, not,
// comparisons, + -, ~, * / // %, **, signs, postfix, filters and tests.
#include "core/chat/jinja/parser.h"

#include <algorithm>

namespace bitlathe::jinja {

namespace {
constexpr int deepest = 1000; ///< levels of a tree; real templates have dozens
}

ExpressionPtr Parser::make(Expression::Kind kind, int line) const {
  auto out = std::make_unique<Expression>();
  out->kind = kind;
  out->line = line;
  return out;
}

void Parser::adopt(Expression& parent, ExpressionPtr child) const {
  if (child) {
    parent.depth = std::max(parent.depth, child->depth + 1);
    if (parent.depth > deepest)
      fail("An expression is nested too deeply", parent.line);
  }
  parent.parts.push_back(std::move(child));
}

bool Parser::tuple_ends(std::string_view end) const {
  return current().kind == Token::Kind::variable_end || current().kind == Token::Kind::block_end ||
         is_op(")") || (!end.empty() && is_name(end));
}

/// One expression, or a tuple when commas follow.
ExpressionPtr Parser::tuple(bool conditional, bool parentheses, std::string_view end, bool simple,
                            bool namespaces) {
  auto out = make(Expression::Kind::tuple, current().line);
  bool commas = false;
  while (true) {
    if (!out->parts.empty())
      expect_op(",");
    if (tuple_ends(end))
      break;
    adopt(*out, simple ? parse_primary(namespaces) : expression(conditional));
    if (!is_op(","))
      break;
    commas = true;
  }
  if (commas)
    return out;
  if (!out->parts.empty())
    return std::move(out->parts[0]);
  if (!parentheses)
    fail("Expected an expression, found " + described(current()), current().line);
  return out;
}

ExpressionPtr Parser::expression(bool conditional) {
  guard_.check(current().line);
  return conditional ? parse_conditional() : parse_or();
}

ExpressionPtr Parser::parse_conditional() {
  guard_.check(current().line);
  auto then = parse_or();
  while (is_name("if")) {
    auto out = make(Expression::Kind::conditional, take().line);
    adopt(*out, std::move(then));
    adopt(*out, parse_or());
    adopt(*out, skip_name("else") ? parse_conditional() : nullptr);
    then = std::move(out);
  }
  return then;
}

ExpressionPtr Parser::parse_or() {
  auto left = parse_and();
  while (is_name("or")) {
    auto out = make(Expression::Kind::logic_or, take().line);
    adopt(*out, std::move(left));
    adopt(*out, parse_and());
    left = std::move(out);
  }
  return left;
}

ExpressionPtr Parser::parse_and() {
  auto left = parse_not();
  while (is_name("and")) {
    auto out = make(Expression::Kind::logic_and, take().line);
    adopt(*out, std::move(left));
    adopt(*out, parse_not());
    left = std::move(out);
  }
  return left;
}

ExpressionPtr Parser::parse_not() {
  guard_.check(current().line);
  if (!is_name("not"))
    return parse_compare();
  auto out = make(Expression::Kind::logic_not, take().line);
  adopt(*out, parse_not());
  return out;
}

ExpressionPtr Parser::parse_compare() {
  auto first = parse_sum();
  ExpressionPtr out;
  while (true) {
    std::string op;
    if (current().kind == Token::Kind::op &&
        (is_op("==") || is_op("!=") || is_op("<") || is_op("<=") || is_op(">") || is_op(">=")))
      op = take().text;
    else if (skip_name("in"))
      op = "in";
    else if (is_name("not") && next().kind == Token::Kind::name && next().text == "in") {
      take();
      take();
      op = "not in";
    } else
      break;
    if (!out) {
      out = make(Expression::Kind::compare, current().line);
      adopt(*out, std::move(first));
    }
    out->operators.push_back(op);
    adopt(*out, parse_sum());
  }
  return out ? std::move(out) : std::move(first);
}

ExpressionPtr Parser::parse_sum() {
  auto left = parse_concat();
  while (is_op("+") || is_op("-")) {
    auto out = make(Expression::Kind::binary, current().line);
    out->name = take().text;
    adopt(*out, std::move(left));
    adopt(*out, parse_concat());
    left = std::move(out);
  }
  return left;
}

ExpressionPtr Parser::parse_concat() {
  auto first = parse_product();
  if (!is_op("~"))
    return first;
  auto out = make(Expression::Kind::concat, current().line);
  adopt(*out, std::move(first));
  while (skip_op("~"))
    adopt(*out, parse_product());
  return out;
}

ExpressionPtr Parser::parse_product() {
  auto left = parse_power();
  while (is_op("*") || is_op("/") || is_op("//") || is_op("%")) {
    auto out = make(Expression::Kind::binary, current().line);
    out->name = take().text;
    adopt(*out, std::move(left));
    adopt(*out, parse_power());
    left = std::move(out);
  }
  return left;
}

ExpressionPtr Parser::parse_power() { // groups from the left, unlike Python
  auto left = parse_unary();
  while (is_op("**")) {
    auto out = make(Expression::Kind::binary, current().line);
    out->name = take().text;
    adopt(*out, std::move(left));
    adopt(*out, parse_unary());
    left = std::move(out);
  }
  return left;
}

ExpressionPtr Parser::parse_unary(bool filters) {
  guard_.check(current().line);
  ExpressionPtr node;
  if (is_op("-") || is_op("+")) {
    node = make(Expression::Kind::unary, current().line);
    node->name = take().text;
    adopt(*node, parse_unary(false));
  } else {
    node = parse_primary();
  }
  node = postfix(std::move(node));
  return filters ? filters_and_tests(std::move(node)) : std::move(node);
}

ExpressionPtr Parser::parse_primary(bool namespaces) {
  const Token token = current();
  auto out = make(Expression::Kind::constant, token.line);
  switch (token.kind) {
  case Token::Kind::name:
    take();
    if (token.text == "true" || token.text == "True")
      out->value = true;
    else if (token.text == "false" || token.text == "False")
      out->value = false;
    else if (token.text == "none" || token.text == "None")
      out->value = None{};
    else {
      out->name = token.text;
      out->kind = Expression::Kind::name;
      if (namespaces && skip_op(".")) {
        out->kind = Expression::Kind::namespace_attribute;
        out->operators.push_back(expect_name());
      }
      for (auto* used : used_)
        used->insert(token.text);
    }
    return out;
  case Token::Kind::text: {
    std::string text;
    while (current().kind == Token::Kind::text)
      text += take().text;
    out->value = std::move(text);
    return out;
  }
  case Token::Kind::integer:
    out->value = take().integer;
    return out;
  case Token::Kind::number:
    out->value = take().number;
    return out;
  default:
    break;
  }
  if (skip_op("(")) {
    auto inside = tuple(true, true);
    expect_op(")");
    return inside;
  }
  if (skip_op("[")) {
    out->kind = Expression::Kind::list;
    while (!is_op("]")) {
      if (!out->parts.empty())
        expect_op(",");
      if (is_op("]"))
        break;
      adopt(*out, expression());
    }
    expect_op("]");
    return out;
  }
  if (is_op("{"))
    return parse_dict();
  unexpected();
}

ExpressionPtr Parser::parse_dict() {
  auto out = make(Expression::Kind::dict, take().line);
  while (!is_op("}")) {
    if (!out->parts.empty())
      expect_op(",");
    if (is_op("}"))
      break;
    adopt(*out, expression());
    expect_op(":");
    adopt(*out, expression());
  }
  expect_op("}");
  return out;
}

ExpressionPtr Parser::postfix(ExpressionPtr node) {
  while (true) {
    if (is_op(".") || is_op("["))
      node = subscript(std::move(node));
    else if (is_op("("))
      node = call(std::move(node));
    else
      return node;
  }
}

ExpressionPtr Parser::filters_and_tests(ExpressionPtr node) {
  while (true) {
    if (is_op("|"))
      node = filter(std::move(node));
    else if (is_name("is"))
      node = test(std::move(node));
    else if (is_op("("))
      node = call(std::move(node));
    else
      return node;
  }
}

ExpressionPtr Parser::subscript(ExpressionPtr node) {
  const int line = current().line;
  if (skip_op(".")) {
    if (current().kind == Token::Kind::name) {
      auto out = make(Expression::Kind::attribute, line);
      out->name = take().text;
      adopt(*out, std::move(node));
      return out;
    }
    if (current().kind != Token::Kind::integer)
      fail("Expected a name or a number after the dot, found " + described(current()), line);
    auto key = make(Expression::Kind::constant, line);
    key->value = take().integer;
    auto out = make(Expression::Kind::item, line);
    adopt(*out, std::move(node));
    adopt(*out, std::move(key));
    return out;
  }
  expect_op("[");
  auto out = make(Expression::Kind::item, line);
  adopt(*out, std::move(node));
  const auto ends = [&] { return is_op("]") || is_op(","); };
  ExpressionPtr first = is_op(":") ? nullptr : expression();
  if (is_op(":")) {
    out->kind = Expression::Kind::slice;
    take();
    adopt(*out, std::move(first));
    adopt(*out, is_op(":") || ends() ? nullptr : expression());
    adopt(*out, skip_op(":") && !ends() ? expression() : nullptr);
  } else if (is_op(",")) { // a tuple as key
    auto key = make(Expression::Kind::tuple, line);
    adopt(*key, std::move(first));
    while (skip_op(",") && !is_op("]"))
      adopt(*key, expression());
    adopt(*out, std::move(key));
  } else {
    adopt(*out, std::move(first));
  }
  expect_op("]");
  return out;
}

std::unique_ptr<CallArguments> Parser::call_arguments() {
  auto out = std::make_unique<CallArguments>();
  const int line = current().line;
  expect_op("(");
  bool first = true;
  while (!is_op(")")) {
    if (!first) {
      expect_op(",");
      if (is_op(")"))
        break;
    }
    first = false;
    if (skip_op("*")) {
      if (out->more_positional || out->more_keywords)
        fail("A call has *arguments twice, or after **arguments", line);
      out->more_positional = expression();
    } else if (skip_op("**")) {
      if (out->more_keywords)
        fail("A call has **arguments twice", line);
      out->more_keywords = expression();
    } else if (current().kind == Token::Kind::name && next().kind == Token::Kind::op &&
               next().text == "=") {
      if (out->more_keywords)
        fail("A call has arguments after **arguments", line);
      std::string name = take().text;
      take();
      out->keywords.emplace_back(std::move(name), expression());
    } else {
      if (out->more_positional || out->more_keywords || !out->keywords.empty())
        fail("A call has a plain argument after a named one", line);
      out->positional.push_back(expression());
    }
  }
  expect_op(")");
  return out;
}

namespace {

int depth_of(const CallArguments& arguments) {
  int depth = 0;
  for (const auto& one : arguments.positional)
    depth = std::max(depth, one->depth);
  for (const auto& one : arguments.keywords)
    depth = std::max(depth, one.second->depth);
  for (const auto* one : {arguments.more_positional.get(), arguments.more_keywords.get()})
    depth = std::max(depth, one ? one->depth : 0);
  return depth;
}

} // namespace

ExpressionPtr Parser::call(ExpressionPtr node) {
  auto out = make(Expression::Kind::call, current().line);
  adopt(*out, std::move(node));
  out->arguments = call_arguments();
  out->depth = std::max(out->depth, depth_of(*out->arguments) + 1);
  return out;
}

/// `node | name(...) | ...`; with `first_inline` the first name stands without a bar.
ExpressionPtr Parser::filter(ExpressionPtr node, bool first_inline) {
  while (is_op("|") || first_inline) {
    if (!first_inline)
      take();
    first_inline = false;
    auto out = make(Expression::Kind::filter, current().line);
    out->name = expect_name();
    while (skip_op("."))
      out->name += "." + expect_name();
    out->arguments = is_op("(") ? call_arguments() : std::make_unique<CallArguments>();
    adopt(*out, std::move(node));
    out->depth = std::max(out->depth, depth_of(*out->arguments) + 1);
    node = std::move(out);
  }
  return node;
}

ExpressionPtr Parser::test(ExpressionPtr node) {
  auto out = make(Expression::Kind::test, take().line);
  const bool negated = skip_name("not");
  out->name = expect_name();
  while (skip_op("."))
    out->name += "." + expect_name();
  out->arguments = std::make_unique<CallArguments>();
  const auto kind = current().kind;
  if (is_op("(")) {
    out->arguments = call_arguments();
  } else if ((kind == Token::Kind::name && !is_name("else") && !is_name("or") && !is_name("and")) ||
             kind == Token::Kind::text || kind == Token::Kind::integer ||
             kind == Token::Kind::number || is_op("[") || is_op("{")) {
    if (is_name("is"))
      fail("Tests with is cannot be chained", current().line);
    out->arguments->positional.push_back(postfix(parse_primary()));
  }
  adopt(*out, std::move(node));
  out->depth = std::max(out->depth, depth_of(*out->arguments) + 1);
  if (!negated)
    return out;
  auto inverse = make(Expression::Kind::logic_not, out->line);
  adopt(*inverse, std::move(out));
  return inverse;
}

} // namespace bitlathe::jinja
