// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/steps.h"
#include "core/recipe/advisor.h"
#include "core/session/session.h"

#include <ostream>

namespace bitlathe {

namespace {

Result<OrderedJson> run(Invocation& invocation) {
  AdviceWish wish;
  wish.goal = invocation.text("goal", "quick");
  wish.runtime = invocation.text("runtime");
  wish.calibrate = !invocation.has("no-calibration");
  if (invocation.has("budget")) {
    TRY_ASSIGN(wish.budget, parse_size(invocation.text("budget")));
  }
  if (invocation.has("memory")) {
    TRY_ASSIGN(wish.memory, parse_size(invocation.text("memory")));
  }
  TRY_ASSIGN(wish.calibration, calibration_files(invocation));
  if (invocation.has("session")) {
    TRY_ASSIGN(const Session session, read_session(invocation.text("session")));
    wish.costs = module_costs(session.stage("attribution"));
  }
  TRY_ASSIGN(const auto model, open_model(invocation.arguments[0]));
  TRY_ASSIGN(const Advice advice, advise(*model, wish));
  if (invocation.has("o"))
    TRY(write_recipe(invocation.text("o"), advice.recipe));
  OrderedJson json{{"path", model->path.string()}, {"goal", wish.goal}};
  if (wish.budget > 0)
    json["budget"] = wish.budget;
  json.update(advice_to_json(advice));
  return json;
}

void show(const OrderedJson& json, std::ostream& out) {
  out << json["title"].get<std::string>() << ": " << show_bytes(json["bytes"].get<std::uint64_t>())
      << " instead of " << show_bytes(json["bytes_before"].get<std::uint64_t>()) << ", "
      << show_number(json["bits_per_weight"].get<double>()) << " bits per weight\n";
  if (json.contains("problem"))
    out << json["problem"].get<std::string>() << "\n";
  out << '\n';
  for (const auto& decision : json["decisions"])
    out << decision["topic"].get<std::string>() << ": " << decision["choice"].get<std::string>()
        << "\n    " << decision["reason"].get<std::string>() << "\n";
  if (!json["rejected"].empty())
    out << "\nTurned down:\n";
  for (const auto& rejected : json["rejected"])
    out << "  " << rejected["what"].get<std::string>() << "\n    "
        << rejected["why"].get<std::string>() << "\n";
  for (const auto& note : json["notes"])
    out << "note: " << note.get<std::string>() << '\n';
  out << "\nThe recipe, for `quantize --recipe FILE --format " << json["format"].get<std::string>()
      << "` (-o FILE writes it):\n"
      << json["recipe"].dump(2) << '\n';
}

constexpr VerbOption options[] = {
    {"goal", "GOAL",
     "quick (default: hardly any loss, done at once), smallest (fit into --budget, or as small as "
     "stays usable), quality (the best at around four bits), portable (any machine, by CPU)."},
    {"budget", "SIZE", "What the export may take, such as 4GB or 500M."},
    {"runtime", "NAME", "What it is to run on: vllm, transformers, llama.cpp, onnxruntime, mlx."},
    {"calibration", calibration_value, "Calibration text for the recipe.", true},
    {"memory", "SIZE", "What calibration may take of this machine's memory."},
    {"no-calibration", "", "Nothing may be run through the model."},
    {"session", "FILE", "A session whose measured costs of modules are used."},
    {"o", "FILE", "Write the recipe."},
};

} // namespace

extern const Verb verb_advise;
const Verb verb_advise{
    "advise", "MODEL", "A recipe for what matters most, with reasons.", 1, 1, options, run, show};

} // namespace bitlathe
