// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/chat_options.h"

#include "core/text/tokenizer.h"

#include <chrono>
#include <ostream>

namespace bitlathe {

namespace {

/// A model with a tokenizer; a folder or file that holds nothing else will do.
Result<std::shared_ptr<const Checkpoint>> open_tokenizer(const std::string& path) {
  const auto model = open_model(path);
  if (model && (*model)->tokenizer)
    return model;
  auto alone = Tokenizer::from_folder(path);
  if (alone) {
    const auto bare = std::make_shared<Checkpoint>();
    bare->path = path;
    bare->tokenizer = std::move(*alone);
    std::error_code failed;
    for (const char* name : {"tokenizer_config.json", "special_tokens_map.json",
                             "generation_config.json", "chat_template.jinja", "chat_template.json"})
      if (fs::is_regular_file(bare->path / name, failed))
        bare->side_files.push_back(bare->path / name);
    return std::shared_ptr<const Checkpoint>(bare);
  }
  if (!model)
    return alone.error().code == "not-found" ? model.error() : alone.error();
  return Error{"unsupported", "The model has no usable tokenizer: " + (*model)->tokenizer_problem,
               (*model)->path.string()};
}

Result<OrderedJson> run(Invocation& invocation) {
  const bool chat = invocation.has("chat");
  if (!invocation.has("text") && !invocation.has("prompt") && !chat)
    return usage_error("tokenize needs --text FILE, --prompt TEXT or --chat FILE");
  if (chat && (invocation.has("text") || invocation.has("prompt")))
    return usage_error("--chat holds the whole conversation; leave --text and --prompt out");
  if (!chat && (invocation.has("chat-template") || invocation.has("chat-template-kwargs")))
    return usage_error("--chat-template and --chat-template-kwargs go with --chat");
  TRY_ASSIGN(const auto model, open_tokenizer(invocation.arguments[0]));
  const auto tokenizer = model->tokenizer;
  if (chat) {
    TRY_ASSIGN(const ChatPrompt prompt,
               chat_prompt_of(invocation, *model, invocation.text("chat"), {}));
    OrderedJson json;
    json["rendered"] = prompt.text;
    json["ids"] = prompt.ids;
    json["stop_tokens"] = prompt.stop;
    return json;
  }
  std::string text = invocation.text("prompt");
  if (invocation.has("text")) {
    TRY_ASSIGN(text, read_text_file(invocation.text("text")));
  }
  EncodeOptions encode;
  encode.add_special = !invocation.has("no-special");
  encode.parse_special = invocation.has("parse-special");
  OrderedJson json;
  const auto begin = std::chrono::steady_clock::now();
  const auto ids = tokenizer->encode(text, encode);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  json["ids"] = ids;
  json["seconds"] = seconds.count(); // of encoding alone
  if (const auto notes = tokenizer->notes(); !notes.empty())
    json["notes"] = notes;
  return json;
}

void show(const OrderedJson& json, std::ostream& out) {
  if (json.contains("rendered"))
    out << json["rendered"].get<std::string>() << "\n\n";
  out << json["ids"].dump() << '\n';
}

constexpr VerbOption options[] = {
    {"text", "FILE", "Text to tokenize, the whole file."},
    {"prompt", "TEXT", "Text to tokenize."},
    {"no-special", "", "Do not add the special tokens that the tokenizer adds."},
    {"parse-special", "", "Recognise the text of special tokens in the input."},
    {"chat", "FILE", "A conversation as JSON, through the model's chat template."},
    {"chat-template", "FILE", "With --chat: a Jinja template instead of the model's own."},
    {"chat-template-kwargs", "JSON", "With --chat: variables of the template, as an object."},
};

} // namespace

extern const Verb verb_tokenize;
const Verb verb_tokenize{
    "tokenize", "MODEL --text FILE", "Token ids of a text.", 1, 1, options, run, show};

} // namespace bitlathe
