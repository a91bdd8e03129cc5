// SPDX-License-Identifier: Apache-2.0
#include "core/chat/chat.h"

#include "core/chat/jinja/template.h"
#include "core/text/tokenizer.h"

#include <ctime>

namespace bitlathe {

Result<std::string> render_chat(std::string_view template_text, const OrderedJson& messages,
                                const ChatOptions& options, const std::string& where) {
  if (!messages.is_array())
    return Error{"bad-argument", "The messages of a conversation must be a list", where};
  for (const auto& message : messages)
    if (!message.is_object() || !message.contains("role") || !message["role"].is_string())
      return Error{"bad-argument",
                   "Every message of a conversation must be an object with a \"role\" and, as a "
                   "rule, a \"content\"",
                   where};
  if (!options.variables.is_object())
    return Error{"bad-argument", "The variables of a template must be a JSON object", where};
  OrderedJson variables = OrderedJson::object();
  for (const auto& [name, text] : options.special_tokens)
    variables[name] = text;
  for (const auto& [name, value] : options.variables.items())
    variables[name] = value;
  variables["messages"] = messages;
  variables["tools"] = options.tools;
  variables["documents"] = options.documents;
  variables["add_generation_prompt"] = options.add_generation_prompt;
  const std::int64_t now = options.now ? *options.now : std::int64_t(std::time(nullptr));
  return jinja::render(template_text, variables, now, where);
}

OrderedJson chat_messages(const std::string& user, const std::string& system) {
  OrderedJson out = OrderedJson::array();
  if (!system.empty())
    out.push_back({{"role", "system"}, {"content", system}});
  out.push_back({{"role", "user"}, {"content", user}});
  return out;
}

Result<OrderedJson> parse_conversation(std::string_view json, ChatOptions& options,
                                       const std::string& where) {
  TRY(parse_json(json, where)); // its complaints: depth, duplicate keys, what is wrong where
  OrderedJson document = OrderedJson::parse(json, nullptr, false);
  if (document.is_array())
    return document;
  if (!document.is_object() || !document.contains("messages"))
    return Error{"bad-argument",
                 "A conversation is a list of messages, or an object with \"messages\"", where};
  for (const auto& [key, value] : document.items()) {
    if (key == "messages")
      continue;
    if (key == "tools") {
      options.tools = value;
    } else if (key == "documents") {
      options.documents = value;
    } else if (key == "chat_template_kwargs" && value.is_object()) {
      for (const auto& [name, one] : value.items())
        options.variables[name] = one;
    } else if (key == "add_generation_prompt" && value.is_boolean()) {
      options.add_generation_prompt = value.get<bool>();
    } else {
      return Error{"bad-argument",
                   "A conversation has no \"" + key +
                       "\" of that kind; known are messages, tools, documents, "
                       "add_generation_prompt and chat_template_kwargs",
                   where};
    }
  }
  return document["messages"];
}

Result<ChatPrompt> chat_prompt(const Checkpoint& checkpoint, const OrderedJson& messages,
                               ChatOptions options,
                               const std::optional<std::string>& template_text) {
  if (!checkpoint.tokenizer)
    return Error{"unsupported",
                 "The model has no usable tokenizer: " + checkpoint.tokenizer_problem,
                 checkpoint.path.string()};
  ChatTemplate found{template_text.value_or(std::string()), "the given template"};
  if (!template_text) {
    TRY_ASSIGN(found, find_chat_template(checkpoint, !options.tools.is_null()));
  }
  for (auto& [name, text] : chat_special_tokens(checkpoint))
    options.special_tokens.emplace(name, std::move(text));
  ChatPrompt out;
  auto text = render_chat(found.text, messages, options, found.where);
  if (!text) {
    text.error().message += ". The plain prompt still works";
    return std::move(text.error());
  }
  out.text = std::move(*text);
  EncodeOptions encode;
  encode.add_special = false;
  encode.parse_special = true;
  out.ids = checkpoint.tokenizer->encode(out.text, encode);
  out.stop = end_of_turn_tokens(checkpoint);
  return out;
}

} // namespace bitlathe
