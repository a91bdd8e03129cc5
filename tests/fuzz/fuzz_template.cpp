// SPDX-License-Identifier: GPL-3.0-or-later
// Chat templates: any text as a template, over one conversation that has everything.
#include "core/chat/jinja/template.h"
#include "tests/fuzz/fuzz.h"

namespace bitlathe::fuzz {

void chat_template(std::string_view input) {
  static const OrderedJson variables = OrderedJson::parse(R"({
    "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": true, "documents": null,
    "tools": [{"type": "function", "function": {"name": "f", "description": "d\né",
      "parameters": {"type": "object", "properties": {"a": {"type": "string"}}, "required": []}}}],
    "messages": [
      {"role": "system", "content": "Be brief."},
      {"role": "user", "content": "Hi <b>there</b> Grüße 😀"},
      {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "type": "function",
        "function": {"name": "f", "arguments": {"a": "b", "n": [1, 2.5, null, true]}}}]},
      {"role": "tool", "content": [{"type": "text", "text": "42"}]},
      {"role": "user", "content": " so? "}],
    "n": 7, "f": -2.5, "text": "one two  three", "list": [3, 1, 2], "d": {"b": 1, "a": {"x": []}}
  })");
  (void)jinja::render(input, variables, 1772874302, "fuzz").ok();
}

} // namespace bitlathe::fuzz

BITLATHE_FUZZ_ENTRY(chat_template)
