// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/eval_options.h"
#include "app/cli/steps.h"

#include <ostream>

namespace bitlathe {

namespace {

Result<OrderedJson> run(Invocation& invocation) {
  TRY_ASSIGN(const auto model, open_model(invocation.arguments[0]));
  TRY_ASSIGN(const JudgedFile given, eval_text_from_options(invocation, *model));
  const EvalText& text = given.text;
  TRY_ASSIGN(Compute * compute, invocation.compute());
  TRY_ASSIGN(const EngineOptions run_options, engine_options(invocation, *compute));
  TRY_ASSIGN(const auto engine, Engine::create(model, *compute, run_options));
  TRY_ASSIGN(const PerplexityResult result, perplexity(*engine, text, invocation.feedback));
  OrderedJson json;
  json["perplexity"] = json_number(result.perplexity);
  json["stderr"] = json_number(result.standard_error);
  json["mean_nll"] = json_number(result.mean_nll);
  json["tokens"] = result.tokens;
  json["windows"] = result.windows;
  json["context"] = text.context;
  json["seconds"] = result.seconds;
  json["tokens_per_second"] =
      result.seconds > 0 ? double(result.windows * text.context) / result.seconds : 0.0;
  json["notes"] = given.notes;
  for (const std::string& note :
       overlap_notes(invocation.arguments[0], given, invocation.arguments[0]))
    json["notes"].push_back(note);
  for (const std::string& note : result.notes)
    json["notes"].push_back(note);
  for (const std::string& note : engine->notes())
    json["notes"].push_back(note);
  add_activity(*engine, run_options, json);
  add_residency(run_options, json);
  return json;
}

void show(const OrderedJson& json, std::ostream& out) {
  for (const auto& note : json["notes"])
    out << "note: " << note.get<std::string>() << '\n';
  out << "perplexity " << show_number(json["perplexity"].get<double>(), 6) << " +/- "
      << show_number(json["stderr"].get<double>(), 4) << "  (" << json["tokens"] << " tokens in "
      << json["windows"] << " windows of " << json["context"] << ", "
      << show_number(json["tokens_per_second"].get<double>(), 4) << " tok/s)\n";
}

} // namespace

extern const Verb verb_perplexity;
const Verb verb_perplexity{"perplexity",
                           "MODEL --text FILE",
                           "Perplexity with its standard error.",
                           1,
                           1,
                           eval_options,
                           run,
                           show};

} // namespace bitlathe
