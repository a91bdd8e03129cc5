// SPDX-License-Identifier: Apache-2.0
#include "core/text/pattern.h"

namespace bitlathe::text {

Result<Cutter> parse_pattern(const Json& stage, const std::string& where) {
  const auto pattern = stage.find("pattern");
  if (pattern == stage.end() || !pattern->is_object() || pattern->size() != 1)
    return Error{"bad-file", "\"pattern\" must be {\"String\": text} or {\"Regex\": text}", where};
  if (pattern->contains("Regex")) {
    TRY_ASSIGN(const auto source, json_string(*pattern, "Regex", where));
    TRY_ASSIGN(const auto regex, Regex::compile(source, where));
    return Cutter([regex](std::string_view text) { return regex.cut(text); });
  }
  TRY_ASSIGN(const auto literal, json_string(*pattern, "String", where));
  if (literal.empty()) { // found between all characters
    TRY_ASSIGN(const auto regex, Regex::compile("", where));
    return Cutter([regex](std::string_view text) { return regex.cut(text); });
  }
  return Cutter([literal](std::string_view text) { return cut_literal(text, literal); });
}

std::string replaced(std::string_view text, const Cutter& pattern, const std::string& content) {
  std::string out;
  out.reserve(text.size() + text.size() / 4);
  for (const auto& span : pattern(text))
    out += span.match ? std::string_view(content) : text.substr(span.begin, span.end - span.begin);
  return out;
}

} // namespace bitlathe::text
