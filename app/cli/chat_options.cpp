// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/chat_options.h"

namespace bitlathe {

Result<ChatPrompt> chat_prompt_of(const Invocation& invocation, const Checkpoint& model,
                                  const std::string& file, const std::string& text) {
  ChatOptions options;
  OrderedJson messages;
  if (file.empty()) {
    messages = chat_messages(text, invocation.text("system"));
  } else {
    if (invocation.has("system"))
      return usage_error("A file of messages has its own system message; leave --system out");
    TRY_ASSIGN(const std::string json, read_text_file(file));
    TRY_ASSIGN(messages, parse_conversation(json, options, file));
  }
  if (invocation.has("chat-template-kwargs")) {
    const std::string given = invocation.text("chat-template-kwargs");
    TRY(parse_json(given, "--chat-template-kwargs"));
    const OrderedJson variables = OrderedJson::parse(given, nullptr, false);
    if (!variables.is_object())
      return usage_error("--chat-template-kwargs takes a JSON object such as "
                         "'{\"enable_thinking\": false}'");
    for (const auto& [name, value] : variables.items())
      options.variables[name] = value;
  }
  std::optional<std::string> own;
  if (invocation.has("chat-template")) {
    TRY_ASSIGN(own, read_text_file(invocation.text("chat-template")));
  }
  return chat_prompt(model, messages, options, own);
}

} // namespace bitlathe
