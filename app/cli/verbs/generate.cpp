// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/chat_options.h"
#include "app/cli/prompt_runs.h"
#include "app/cli/steps.h"

#include "core/engine/engine.h"
#include "core/job/memory.h"
#include "core/text/tokenizer.h"

#include <ostream>

namespace bitlathe {

namespace {

/// With a set of prompts: what would say the prompt otherwise is left out.
Result<void> check_set_options(const Invocation& invocation) {
  for (const char* option :
       {"prompt", "text", "ids", "messages", "chat-template", "chat-template-kwargs", "ignore-eos"})
    if (invocation.has(option))
      return usage_error("--" + std::string(option) + " does not go with --prompts");
  if (invocation.has("system") && !invocation.has("chat"))
    return usage_error("--system goes with --chat");
  if (invocation.has("resume") && !invocation.has("o"))
    return usage_error("--resume goes with -o FILE, the file to go on with");
  return {};
}

Result<void> check_options(const Invocation& invocation) {
  const bool chat = invocation.has("chat");
  if (invocation.arguments.size() > 1)
    return usage_error("generate takes one model, or up to four with --prompts FILE");
  if (invocation.has("o") || invocation.has("resume"))
    return usage_error("-o and --resume go with --prompts FILE");
  if (chat && invocation.has("ids"))
    return usage_error("--chat renders text; it does not go with --ids");
  for (const char* option : {"system", "messages", "chat-template", "chat-template-kwargs"})
    if (!chat && invocation.has(option))
      return usage_error("--" + std::string(option) + " goes with --chat");
  if (invocation.has("messages") && (invocation.has("prompt") || invocation.has("text")))
    return usage_error("--messages holds the whole conversation; leave --prompt and --text out");
  if (!invocation.has("prompt") && !invocation.has("text") && !invocation.has("ids") &&
      !invocation.has("messages"))
    return usage_error("generate needs --prompt TEXT, --text FILE or --ids FILE" +
                       std::string(chat ? ", or --messages FILE" : ""));
  return {};
}

/// The ids to continue, and with --chat the tokens that end a turn.
Result<ChatPrompt> prompt_of(const Invocation& invocation, const Checkpoint& model) {
  TRY_ASSIGN(auto ids, given_ids(invocation));
  if (ids)
    return ChatPrompt{{}, std::move(*ids), {}};
  std::string text = invocation.text("prompt");
  if (invocation.has("text")) {
    TRY_ASSIGN(text, read_text_file(invocation.text("text")));
  }
  if (invocation.has("chat"))
    return chat_prompt_of(invocation, model, invocation.text("messages"), text);
  if (!model.tokenizer)
    return Error{"unsupported",
                 "The model has no usable tokenizer (" + model.tokenizer_problem +
                     "); pass --ids FILE",
                 model.path.string()};
  return ChatPrompt{text, model.tokenizer->encode(text), {}};
}

OrderedJson step_json(const GenerateStep& step) {
  OrderedJson json;
  json["id"] = step.id;
  json["logprob"] = step.logprob ? json_number(*step.logprob) : Json(nullptr);
  json["prompt"] = step.prompt;
  json["top"] = OrderedJson::array();
  for (const TopToken& top : step.top)
    json["top"].push_back({{"id", top.id}, {"logprob", json_number(top.logprob)}});
  return json;
}

Result<OrderedJson> run(Invocation& invocation) {
  GenerateOptions options;
  TRY_ASSIGN(options.max_new, invocation.integer("max-new", 64, 0));
  TRY_ASSIGN(const double temperature, invocation.number("temperature", 0, 0));
  TRY_ASSIGN(const std::int64_t top_k, invocation.integer("top-k", 0, 0));
  TRY_ASSIGN(const double top_p, invocation.number("top-p", 1, 0));
  TRY_ASSIGN(const std::int64_t seed, invocation.integer("seed", 0, 0));
  TRY_ASSIGN(const std::int64_t logprobs, invocation.integer("logprobs", 0, 1));
  if (top_p <= 0 || top_p > 1)
    return usage_error("--top-p lies above 0 and at most 1");
  options.sampling = {float(temperature), int(top_k), float(top_p), std::uint64_t(seed)};
  options.logprobs = int(logprobs);
  options.stop_at_eos = !invocation.has("ignore-eos");
  TRY_ASSIGN(Compute * compute, invocation.compute());
  TRY_ASSIGN(const EngineOptions run_options, engine_options(invocation, *compute));
  if (invocation.has("prompts")) {
    TRY(check_set_options(invocation));
    return run_prompt_set(invocation, options, run_options);
  }
  TRY(check_options(invocation));
  TRY_ASSIGN(const auto model, open_model(invocation.arguments[0]));
  TRY_ASSIGN(const ChatPrompt prompt, prompt_of(invocation, *model));
  options.prompt = prompt.ids;
  options.stop = prompt.stop;
  TRY_ASSIGN(const auto engine, Engine::create(model, *compute, run_options));
  TRY_ASSIGN(const GenerateResult result, generate(*engine, options, invocation.feedback));

  OrderedJson json;
  if (model->tokenizer) {
    json["prompt"] = model->tokenizer->decode(result.prompt);
    std::string text;
    for (const std::int32_t id : result.tokens)
      if (model->tokenizer->token_kind(id) != TokenKind::control)
        text += model->tokenizer->piece(id);
    json["text"] = text;
  } else {
    json["text"] = nullptr;
  }
  if (invocation.has("chat")) {
    json["rendered"] = prompt.text;
    json["stop_tokens"] = prompt.stop;
  }
  json["tokens"] = result.tokens;
  json["prompt_tokens"] = result.prompt;
  json["stop_reason"] = result.stop_reason;
  json["tokens_per_second"] =
      result.seconds > 0 ? double(result.tokens.size()) / result.seconds : 0.0;
  json["prompt_tokens_per_second"] =
      result.prompt_seconds > 0 ? double(result.prompt.size()) / result.prompt_seconds : 0.0;
  json["peak_rss_bytes"] = peak_rss_bytes();
  json["peak_mapped_bytes"] = peak_mapped_bytes();
  json["steps"] = OrderedJson::array();
  for (const GenerateStep& step : result.steps)
    json["steps"].push_back(step_json(step));
  json["notes"] = engine->notes();
  add_activity(*engine, run_options, json);
  add_residency(run_options, json);
  return json;
}

void show(const OrderedJson& json, std::ostream& out) {
  if (json.contains("transcripts"))
    return show_prompt_set(json, out);
  if (json.contains("prompt"))
    out << json["prompt"].get<std::string>() << json["text"].get<std::string>() << "\n\n";
  else
    out << json["tokens"].dump() << "\n\n";
  out << json["tokens"].size() << " tokens, "
      << show_number(json["tokens_per_second"].get<double>(), 3) << " tok/s (prompt "
      << show_number(json["prompt_tokens_per_second"].get<double>(), 3) << " tok/s), stopped by "
      << json["stop_reason"].get<std::string>() << '\n';
  for (const auto& note : json["notes"])
    out << "note: " << note.get<std::string>() << '\n';
}

constexpr VerbOption options[] = {
    {"prompt", "TEXT", "Text to continue."},
    {"text", "FILE", "The prompt from a file."},
    {"ids", "FILE", "The prompt as a JSON list of token ids."},
    {"prompts", "FILE",
     "A set of prompts (.jsonl, .json, or text with a prompt per line or empty lines between) on "
     "up "
     "to four models side by side: transcripts, where they part, and the KL of every token along "
     "the first model's text."},
    {"o", "FILE", "With --prompts: keep the transcripts in FILE, .json, .md or .html."},
    {"resume", "", "With --prompts and -o FILE.json: leave out what FILE has already."},
    {"max-new", "N", "New tokens at most (default 64)."},
    {"temperature", "T", "0 (default) is greedy."},
    {"top-k", "K", "Draw from the K likeliest tokens; 0 (default) is off."},
    {"top-p", "P", "Draw from the smallest set with this probability (default 1)."},
    {"logprobs", "K", "The K likeliest tokens of every step, prompt included."},
    {"kv", "K[,V]", "KV cache schemes to run with (default: the model's own)."},
    {"activations", "A",
     "Activation scheme to run quantized modules with (default: the model's own)."},
    memory_cap_option,
    {"ignore-eos", "", "Go on past the end-of-text token."},
    {"chat", "", "The prompt is a message to the model: apply its chat template."},
    {"system", "TEXT", "With --chat: what the model is told before the first message."},
    {"messages", "FILE", "With --chat: a conversation as JSON, a list of messages or an object."},
    {"chat-template", "FILE", "With --chat: a Jinja template instead of the model's own."},
    {"chat-template-kwargs", "JSON", "With --chat: variables of the template, as an object."},
};

} // namespace

extern const Verb verb_generate;
const Verb verb_generate{"generate",
                         "MODEL --prompt TEXT | MODEL... --prompts FILE",
                         "Continues a text.",
                         1,
                         4,
                         options,
                         run,
                         show};

} // namespace bitlathe
