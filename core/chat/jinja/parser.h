// SPDX-License-Identifier: Apache-2.0
// Tokens to a tree, with Jinja's own grammar: parser.cpp has the statements,
// parse_expression.cpp the expressions. Everything throws TemplateError.
#pragma once

#include "core/chat/jinja/ast.h"
#include "core/chat/jinja/lexer.h"
#include "core/chat/jinja/nested.h"

#include <set>

namespace bitlathe::jinja {

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}
  Body parse();

 private:
  using Ends = std::initializer_list<std::string_view>;

  // tokens
  const Token& current() const { return tokens_[at_]; }
  const Token& next() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token take();
  bool is_op(std::string_view op) const;
  bool is_name(std::string_view name) const;
  bool skip_op(std::string_view op);
  bool skip_name(std::string_view name);
  void expect_op(std::string_view op);
  std::string expect_name();
  void expect(Token::Kind kind);
  [[noreturn]] void unexpected() const;
  std::string described(const Token& token) const;

  // statements
  Body body_until(Ends ends, bool skip_end = true); ///< from after a tag's expression
  Body nodes(Ends ends);
  std::unique_ptr<Statement> statement();
  std::unique_ptr<Statement> make(Statement::Kind kind) const;
  std::unique_ptr<Statement> parse_for();
  std::unique_ptr<Statement> parse_if();
  std::unique_ptr<Statement> parse_set();
  std::unique_ptr<Statement> parse_with();
  std::unique_ptr<Statement> parse_macro();
  std::unique_ptr<Statement> parse_call_block();
  std::unique_ptr<Statement> parse_block();
  void parse_signature(Signature& signature);
  ExpressionPtr target(bool tuples, bool namespaces, std::string_view end = {});
  void check_target(const Expression& expression) const;

  // expressions
  ExpressionPtr expression(bool conditional = true);
  ExpressionPtr tuple(bool conditional = true, bool parentheses = false, std::string_view end = {},
                      bool simple = false, bool namespaces = false);
  bool tuple_ends(std::string_view end) const;
  ExpressionPtr parse_conditional();
  ExpressionPtr parse_or();
  ExpressionPtr parse_and();
  ExpressionPtr parse_not();
  ExpressionPtr parse_compare();
  ExpressionPtr parse_sum();
  ExpressionPtr parse_concat();
  ExpressionPtr parse_product();
  ExpressionPtr parse_power();
  ExpressionPtr parse_unary(bool filters = true);
  ExpressionPtr parse_primary(bool namespaces = false);
  ExpressionPtr parse_dict();
  ExpressionPtr postfix(ExpressionPtr node);
  ExpressionPtr filters_and_tests(ExpressionPtr node);
  ExpressionPtr subscript(ExpressionPtr node);
  ExpressionPtr call(ExpressionPtr node);
  ExpressionPtr filter(ExpressionPtr node, bool first_inline = false);
  ExpressionPtr test(ExpressionPtr node);
  std::unique_ptr<CallArguments> call_arguments();
  ExpressionPtr make(Expression::Kind kind, int line) const;
  /// Adds a child and keeps count of the depth.
  void adopt(Expression& parent, ExpressionPtr child) const;

  StackGuard guard_;
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int loops_ = 0;
  std::vector<std::set<std::string>*> used_; ///< names read inside the macros being parsed
};

} // namespace bitlathe::jinja
