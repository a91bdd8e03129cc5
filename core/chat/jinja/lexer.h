// SPDX-License-Identifier: Apache-2.0
// A template's text to tokens. White space around tags is treated as transformers sets Jinja up:
// trim_blocks and lstrip_blocks on, one newline at the end dropped.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bitlathe::jinja {

struct Token {
  enum class Kind {
    data,           ///< text between tags
    variable_begin, ///< {{
    variable_end,
    block_begin, ///< {%
    block_end,
    name,
    text,
    integer,
    number,
    op, ///< text holds "+", "==", ...
    end
  };
  Kind kind = Kind::end;
  int line = 1;
  std::string text;
  std::int64_t integer = 0;
  double number = 0;
};

/// Throws TemplateError.
std::vector<Token> tokenize_template(std::string_view source);

} // namespace bitlathe::jinja
