// SPDX-License-Identifier: Apache-2.0
// Conversations as prompts: a model's chat template (Jinja, core/chat/jinja) turns messages into
// the text the model was trained on. Rendered as the transformers library does: the same
// environment, the same variables.
#pragma once

#include "core/model/checkpoint.h"

#include <map>
#include <optional>

namespace bitlathe {

struct ChatOptions {
  bool add_generation_prompt = true; ///< end with the beginning of the assistant's turn
  OrderedJson tools;                 ///< a list of function descriptions; null: none
  OrderedJson documents;             ///< null: none
  /// More variables of the template, such as {"enable_thinking": false}.
  OrderedJson variables = OrderedJson::object();
  std::map<std::string, std::string> special_tokens; ///< "bos_token" -> "<s>"
  std::optional<std::int64_t> now; ///< seconds since 1970, for templates that write the date
};

/// Messages are a list of {"role", "content", ...}. Errors name line and construct. `where` names
/// the template.
Result<std::string> render_chat(std::string_view template_text, const OrderedJson& messages,
                                const ChatOptions& options, const std::string& where = {});

/// A message of the user, behind one of the system when `system` is not empty.
OrderedJson chat_messages(const std::string& user, const std::string& system = {});

/// A conversation as JSON: a list of messages, or an object with "messages" and optionally "tools",
/// "documents", "add_generation_prompt" and "chat_template_kwargs", which go to `options`.
Result<OrderedJson> parse_conversation(std::string_view json, ChatOptions& options,
                                       const std::string& where);

/// The template of a checkpoint, from the places where the formats keep one; with `tools` the one
/// for tools if there is such. Without one: error "not-available" that says so.
struct ChatTemplate {
  std::string text;
  std::string where; ///< the file it comes from
};
Result<ChatTemplate> find_chat_template(const Checkpoint& checkpoint, bool tools = false);
bool has_chat_template(const Checkpoint& checkpoint);
/// The same without reading a file, for threads that must not wait: a file may turn out empty.
bool seems_to_have_chat_template(const Checkpoint& checkpoint);

/// What the template may write for "bos_token" and so on; tokens the model does not name are
/// missing.
std::map<std::string, std::string> chat_special_tokens(const Checkpoint& checkpoint);

/// Tokens that end a turn: those the model's files name, and well-known ones such as <|im_end|> and
/// <|eot_id|> where they are special tokens of the tokenizer.
std::vector<std::int32_t> end_of_turn_tokens(const Checkpoint& checkpoint);

/// A conversation ready for the engine. The template writes BOS itself, so nothing is added.
struct ChatPrompt {
  std::string text;
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> stop; ///< end_of_turn_tokens
};
/// `template_text` replaces the model's own template when it is given.
Result<ChatPrompt> chat_prompt(const Checkpoint& checkpoint, const OrderedJson& messages,
                               ChatOptions options = {},
                               const std::optional<std::string>& template_text = {});

} // namespace bitlathe
