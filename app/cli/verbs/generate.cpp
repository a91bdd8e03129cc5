// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/verb.h"

#include "core/engine/engine.h"
#include "core/job/memory.h"
#include "core/text/tokenizer.h"

#include <ostream>

namespace bitlathe {

namespace {

Result<std::vector<std::int32_t>> prompt_ids(const Invocation& invocation,
                                             const Checkpoint& model) {
  TRY_ASSIGN(auto ids, given_ids(invocation));
  if (ids)
    return std::move(*ids);
  std::string text = invocation.text("prompt");
  if (invocation.has("text")) {
    TRY_ASSIGN(text, read_text_file(invocation.text("text")));
  } else if (!invocation.has("prompt")) {
    return usage_error("generate needs --prompt TEXT, --text FILE or --ids FILE");
  }
  if (!model.tokenizer)
    return Error{"unsupported",
                 "The model has no usable tokenizer (" + model.tokenizer_problem +
                     "); pass --ids FILE",
                 model.path.string()};
  return model.tokenizer->encode(text);
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
  EngineOptions engine_options;
  if (invocation.has("kv")) {
    TRY_ASSIGN(engine_options.kv, parse_kv(invocation.text("kv")));
  }
  TRY_ASSIGN(const auto model, open_model(invocation.arguments[0]));
  TRY_ASSIGN(options.prompt, prompt_ids(invocation, *model));
  TRY_ASSIGN(Compute * compute, invocation.compute());
  TRY_ASSIGN(const auto engine, Engine::create(model, *compute, engine_options));
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
  return json;
}

void show(const OrderedJson& json, std::ostream& out) {
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
    {"max-new", "N", "New tokens at most (default 64)."},
    {"temperature", "T", "0 (default) is greedy."},
    {"top-k", "K", "Draw from the K likeliest tokens; 0 (default) is off."},
    {"top-p", "P", "Draw from the smallest set with this probability (default 1)."},
    {"logprobs", "K", "The K likeliest tokens of every step, prompt included."},
    {"kv", "K[,V]", "KV cache schemes: f16, f32, int8, int4, q8_0, q4_0, f8_e4m3."},
    {"ignore-eos", "", "Go on past the end-of-text token."},
    {"chat", "", "Apply the model's chat template.", false, true},
};

} // namespace

extern const Verb verb_generate;
const Verb verb_generate{"generate", "MODEL --prompt TEXT", "Continues a text.", 1, 1, options, run,
                         show};

} // namespace bitlathe
