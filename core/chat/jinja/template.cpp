// SPDX-License-Identifier: Apache-2.0
#include "core/chat/jinja/template.h"

#include "core/chat/jinja/interpreter.h"
#include "core/chat/jinja/parser.h"
#include "core/chat/jinja/text.h"

namespace bitlathe::jinja {

namespace {
constexpr std::size_t longest_template = std::size_t(4) << 20;
}

Result<std::string> render(std::string_view source, const OrderedJson& variables, std::int64_t now,
                           const std::string& where) {
  if (source.size() > longest_template)
    return Error{"bad-file", "The chat template is larger than 4 MiB", where};
  try {
    Parser parser(tokenize_template(valid_utf8(source)));
    const Body body = parser.parse();
    Interpreter interpreter(now);
    const Value given = from_json(variables, interpreter.budget());
    if (!given.is_dict())
      return Error{"bad-argument", "The variables of a template must be a JSON object", where};
    return interpreter.render(body, given.dict());
  } catch (const TemplateError& error) {
    const std::string line =
        error.line > 0 ? ", line " + std::to_string(error.line) : std::string();
    return Error{"unsupported", "Chat template" + line + ": " + error.message, where};
  }
}

} // namespace bitlathe::jinja
