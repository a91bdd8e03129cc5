// SPDX-License-Identifier: Apache-2.0
// Statements of a template.
#include "core/chat/jinja/parser.h"

#include <algorithm>

namespace bitlathe::jinja {

// --- tokens
// ---------------------------------------------------------------------------------------

Token Parser::take() {
  Token token = tokens_[at_];
  if (at_ + 1 < tokens_.size())
    ++at_;
  return token;
}
bool Parser::is_op(std::string_view op) const {
  return current().kind == Token::Kind::op && current().text == op;
}
bool Parser::is_name(std::string_view name) const {
  return current().kind == Token::Kind::name && current().text == name;
}
bool Parser::skip_op(std::string_view op) {
  const bool there = is_op(op);
  if (there)
    take();
  return there;
}
bool Parser::skip_name(std::string_view name) {
  const bool there = is_name(name);
  if (there)
    take();
  return there;
}
void Parser::expect_op(std::string_view op) {
  if (!skip_op(op))
    fail("Expected " + std::string(op) + ", found " + described(current()), current().line);
}
std::string Parser::expect_name() {
  if (current().kind != Token::Kind::name)
    fail("Expected a name, found " + described(current()), current().line);
  return take().text;
}
void Parser::expect(Token::Kind kind) {
  if (current().kind != kind)
    unexpected();
  take();
}
void Parser::unexpected() const { fail("Unexpected " + described(current()), current().line); }

std::string Parser::described(const Token& token) const {
  switch (token.kind) {
  case Token::Kind::data:
  case Token::Kind::block_begin:
  case Token::Kind::variable_begin:
    return "text outside of a tag";
  case Token::Kind::variable_end:
    return "end of the tag }}";
  case Token::Kind::block_end:
    return "end of the tag %}";
  case Token::Kind::name:
    return "the name " + token.text;
  case Token::Kind::text:
    return "a text";
  case Token::Kind::integer:
  case Token::Kind::number:
    return "a number";
  case Token::Kind::op:
    return token.text;
  case Token::Kind::end:
    return "the end of the template";
  }
  return {};
}

// --- bodies
// ---------------------------------------------------------------------------------------

Body Parser::parse() {
  Body body = nodes({});
  if (current().kind != Token::Kind::end)
    unexpected();
  return body;
}

std::unique_ptr<Statement> Parser::make(Statement::Kind kind) const {
  auto out = std::make_unique<Statement>();
  out->kind = kind;
  out->line = current().line;
  return out;
}

/// From the end of a tag to a tag whose first word is one of `ends`; that word is the current
/// token afterwards, or behind us with the end of its tag still to come.
Body Parser::body_until(Ends ends, bool skip_end) {
  skip_op(":");
  const int line = current().line;
  expect(Token::Kind::block_end);
  Body body = nodes(ends);
  if (current().kind == Token::Kind::end) {
    std::string wanted;
    for (const std::string_view end : ends)
      wanted += (wanted.empty() ? "" : " or ") + std::string(end);
    fail("The template ends before " + wanted, line);
  }
  if (skip_end)
    take();
  return body;
}

Body Parser::nodes(Ends ends) {
  guard_.check(current().line);
  Body body;
  while (true) {
    switch (current().kind) {
    case Token::Kind::data: {
      auto text = make(Statement::Kind::text);
      text->text = take().text;
      body.push_back(std::move(text));
      break;
    }
    case Token::Kind::variable_begin: {
      take();
      auto output = make(Statement::Kind::output);
      output->expressions.push_back(tuple());
      expect(Token::Kind::variable_end);
      body.push_back(std::move(output));
      break;
    }
    case Token::Kind::block_begin:
      take();
      if (current().kind == Token::Kind::name &&
          std::find(ends.begin(), ends.end(), current().text) != ends.end())
        return body;
      body.push_back(statement());
      expect(Token::Kind::block_end);
      break;
    case Token::Kind::end:
      return body;
    default:
      unexpected();
    }
  }
}

std::unique_ptr<Statement> Parser::statement() {
  if (current().kind != Token::Kind::name)
    fail("A tag {% begins with " + described(current()) + ", not with a statement", current().line);
  const std::string word = current().text;
  if (word == "for")
    return parse_for();
  if (word == "if")
    return parse_if();
  if (word == "set")
    return parse_set();
  if (word == "with")
    return parse_with();
  if (word == "macro")
    return parse_macro();
  if (word == "call")
    return parse_call_block();
  if (word == "block")
    return parse_block();
  if (word == "print") {
    auto out = make(Statement::Kind::output);
    take();
    while (current().kind != Token::Kind::block_end) {
      if (!out->expressions.empty())
        expect_op(",");
      out->expressions.push_back(expression());
    }
    return out;
  }
  if (word == "filter") {
    auto out = make(Statement::Kind::filter);
    take();
    out->expressions.push_back(filter(nullptr, true));
    out->bodies.push_back(body_until({"endfilter"}));
    return out;
  }
  if (word == "generation") {
    auto out = make(Statement::Kind::scope);
    take();
    out->bodies.push_back(body_until({"endgeneration"}));
    return out;
  }
  if (word == "break" || word == "continue") {
    if (loops_ == 0)
      fail("{% " + word + " %} stands outside of a loop", current().line);
    auto out = make(word == "break" ? Statement::Kind::break_loop : Statement::Kind::continue_loop);
    take();
    return out;
  }
  if (word == "include" || word == "import" || word == "from" || word == "extends" ||
      word == "autoescape" || word == "do" || word == "trans")
    fail("{% " + word + " %} is not supported in chat templates", current().line);
  fail("Unknown statement {% " + word + " %}", current().line);
}

// --- targets
// --------------------------------------------------------------------------------------

void Parser::check_target(const Expression& expression) const {
  if (expression.kind == Expression::Kind::tuple) {
    for (const auto& part : expression.parts)
      check_target(*part);
    return;
  }
  if (expression.kind != Expression::Kind::name &&
      expression.kind != Expression::Kind::namespace_attribute)
    fail("Only names can be assigned to", expression.line);
  if (expression.kind == Expression::Kind::name && (expression.name == "loop" && loops_ > 0))
    fail("The special variable loop cannot be assigned to", expression.line);
}

ExpressionPtr Parser::target(bool tuples, bool namespaces, std::string_view end) {
  auto out = tuples ? tuple(true, false, end, true, namespaces) : parse_primary(namespaces);
  check_target(*out);
  return out;
}

// --- statements
// -----------------------------------------------------------------------------------

std::unique_ptr<Statement> Parser::parse_for() {
  auto out = make(Statement::Kind::loop);
  take();
  ++loops_;
  out->targets.push_back(target(true, false, "in"));
  if (!skip_name("in"))
    fail("Expected in, found " + described(current()), current().line);
  out->expressions.push_back(tuple(false, false, "recursive"));
  if (skip_name("if"))
    out->condition = expression();
  out->recursive = skip_name("recursive");
  out->bodies.push_back(body_until({"endfor", "else"}, false));
  --loops_;
  const bool has_else = take().text == "else";
  out->bodies.push_back(has_else ? body_until({"endfor"}) : Body());
  return out;
}

std::unique_ptr<Statement> Parser::parse_if() {
  auto out = make(Statement::Kind::condition);
  take();
  while (true) {
    out->expressions.push_back(tuple(false));
    out->bodies.push_back(body_until({"elif", "else", "endif"}, false));
    if (skip_name("elif"))
      continue;
    const bool otherwise = is_name("else");
    take();
    out->bodies.push_back(otherwise ? body_until({"endif"}) : Body());
    return out;
  }
}

std::unique_ptr<Statement> Parser::parse_set() {
  auto out = make(Statement::Kind::set);
  take();
  out->targets.push_back(target(true, true));
  if (skip_op("=")) {
    out->expressions.push_back(tuple());
    return out;
  }
  out->kind = Statement::Kind::set_block;
  out->expressions.push_back(filter(nullptr));
  out->bodies.push_back(body_until({"endset"}));
  return out;
}

std::unique_ptr<Statement> Parser::parse_with() {
  auto out = make(Statement::Kind::with);
  take();
  while (current().kind != Token::Kind::block_end) {
    if (!out->targets.empty())
      expect_op(",");
    out->targets.push_back(target(true, false));
    expect_op("=");
    out->expressions.push_back(expression());
  }
  out->bodies.push_back(body_until({"endwith"}));
  return out;
}

void Parser::parse_signature(Signature& signature) {
  expect_op("(");
  while (!is_op(")")) {
    if (!signature.names.empty())
      expect_op(",");
    signature.names.push_back(expect_name());
    if (skip_op("="))
      signature.defaults.push_back(expression());
    else if (!signature.defaults.empty())
      fail("A parameter without a default follows one with a default", current().line);
  }
  expect_op(")");
}

std::unique_ptr<Statement> Parser::parse_macro() {
  auto out = make(Statement::Kind::macro);
  take();
  out->name = expect_name();
  parse_signature(out->signature);
  std::set<std::string> used;
  used_.push_back(&used);
  const int loops = std::exchange(loops_, 0);
  out->bodies.push_back(body_until({"endmacro"}));
  loops_ = loops;
  used_.pop_back();
  out->uses_varargs = used.count("varargs") > 0;
  out->uses_kwargs = used.count("kwargs") > 0;
  out->uses_caller = used.count("caller") > 0;
  return out;
}

std::unique_ptr<Statement> Parser::parse_call_block() {
  auto out = make(Statement::Kind::call_block);
  take();
  if (is_op("("))
    parse_signature(out->signature);
  out->expressions.push_back(expression());
  if (out->expressions[0]->kind != Expression::Kind::call)
    fail("{% call %} needs a call such as macro(...)", out->line);
  const int loops = std::exchange(loops_, 0);
  out->bodies.push_back(body_until({"endcall"}));
  loops_ = loops;
  return out;
}

std::unique_ptr<Statement> Parser::parse_block() {
  auto out = make(Statement::Kind::block);
  take();
  out->name = expect_name();
  out->recursive = skip_name("scoped");
  skip_name("required");
  const int loops = std::exchange(loops_, 0);
  out->bodies.push_back(body_until({"endblock"}));
  loops_ = loops;
  if (is_name(out->name))
    take();
  return out;
}

} // namespace bitlathe::jinja
