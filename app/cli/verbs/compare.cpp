// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/eval_options.h"
#include "app/cli/steps.h"

#include <algorithm>
#include <ostream>

namespace bitlathe {

namespace {

Result<OrderedJson> run(Invocation& invocation) {
  TRY_ASSIGN(const auto reference, open_model(invocation.arguments[0]));
  std::vector<std::shared_ptr<const Checkpoint>> models;
  for (std::size_t i = 1; i < invocation.arguments.size(); ++i) {
    TRY_ASSIGN(auto model, open_model(invocation.arguments[i]));
    models.push_back(std::move(model));
  }
  TRY_ASSIGN(const JudgedFile given, eval_text_from_options(invocation, *reference));
  const EvalText& text = given.text;
  TRY_ASSIGN(Compute * compute, invocation.compute());
  TRY_ASSIGN(const auto engine, Engine::create(reference, *compute));
  EngineOptions rounded_options;
  rounded_options.round_weights_to_f16 = true;
  TRY_ASSIGN(const auto rounded, Engine::create(reference, *compute, rounded_options));
  std::vector<std::unique_ptr<Engine>> engines;
  std::vector<Engine*> candidates;
  TRY_ASSIGN(const EngineOptions run_options, engine_options(invocation));
  for (const auto& model : models) {
    TRY_ASSIGN(auto candidate, Engine::create(model, *compute, run_options));
    candidates.push_back(candidate.get());
    engines.push_back(std::move(candidate));
  }
  TRY_ASSIGN(const CompareReport report,
             compare(*engine, candidates, rounded.get(), text, invocation.feedback));
  OrderedJson json;
  json["reference"] = {{"path", invocation.arguments[0]},
                       {"bytes", reference->bytes()},
                       {"perplexity", json_number(report.reference_perplexity)},
                       {"stderr", json_number(report.reference_stderr)}};
  json["noise_floor"] = json_number(report.noise_floor);
  std::vector<std::string> overlaps =
      overlap_notes(invocation.arguments[0], given, invocation.arguments[0]);
  json["models"] = OrderedJson::array();
  for (std::size_t i = 0; i < report.models.size(); ++i) {
    const CompareResult& m = report.models[i];
    json["models"].push_back({{"path", invocation.arguments[i + 1]},
                              {"bytes", m.bytes},
                              {"perplexity", json_number(m.perplexity)},
                              {"stderr", json_number(m.perplexity_stderr)},
                              {"ppl_ratio", json_number(m.ppl_ratio)},
                              {"ppl_ratio_stderr", json_number(m.ppl_ratio_stderr)},
                              {"kld_mean", json_number(m.kld_mean)},
                              {"kld_stderr", json_number(m.kld_stderr)},
                              {"kld_median", json_number(m.kld_median)},
                              {"kld_p99", json_number(m.kld_p99)},
                              {"kld_max", json_number(m.kld_max)},
                              {"top1_agreement", json_number(m.top1_agreement)},
                              {"tokens", m.tokens},
                              {"seconds", m.seconds},
                              {"notes", m.notes}});
    OrderedJson& entry = json["models"].back();
    for (const std::string& note :
         overlap_notes(invocation.arguments[i + 1], given, invocation.arguments[i + 1])) {
      entry["notes"].push_back(note);
      overlaps.push_back(note);
    }
    for (const std::string& note : candidates[i]->notes())
      if (std::find(m.notes.begin(), m.notes.end(), note) == m.notes.end())
        entry["notes"].push_back(note);
    add_activity(*candidates[i], run_options, entry);
  }
  json["notes"] = given.notes;
  for (const auto& notes : {overlaps, report.notes})
    for (const std::string& note : notes)
      json["notes"].push_back(note);
  return json;
}

void show(const OrderedJson& json, std::ostream& out) {
  const auto number = [](const OrderedJson& value, int digits = 4) {
    return value.is_number() ? show_number(value.get<double>(), digits) : std::string("-");
  };
  TextTable table({"MODEL", "SIZE", "PERPLEXITY", "RATIO", "KL MEAN", "KL P99", "SAME TOP TOKEN"});
  const auto& reference = json["reference"];
  table.add({reference["path"].get<std::string>(),
             show_bytes(reference["bytes"].get<std::uint64_t>()),
             number(reference["perplexity"], 6) + " +/- " + number(reference["stderr"], 3), "1",
             "-", "-", "-"});
  const double floor = json["noise_floor"].is_number() ? json["noise_floor"].get<double>() : 0;
  std::string indistinct;
  for (const auto& m : json["models"]) {
    table.add({m["path"].get<std::string>(), show_bytes(m["bytes"].get<std::uint64_t>()),
               number(m["perplexity"], 6) + " +/- " + number(m["stderr"], 3),
               number(m["ppl_ratio"], 6),
               number(m["kld_mean"]) + " +/- " + number(m["kld_stderr"], 2), number(m["kld_p99"]),
               number(m["top1_agreement"])});
    if (m["kld_mean"].is_number() && m["kld_mean"].get<double>() <= floor)
      indistinct += (indistinct.empty() ? "" : ", ") + m["path"].get<std::string>();
  }
  table.print(out);
  out << "noise floor (the reference with its weights rounded): KL " << number(json["noise_floor"])
      << '\n';
  if (!indistinct.empty())
    out << "not distinguishable from the reference: " << indistinct << '\n';
  for (const auto& note : json["notes"])
    out << "note: " << note.get<std::string>() << '\n';
}

} // namespace

extern const Verb verb_compare;
const Verb verb_compare{"compare",
                        "REF CANDIDATE... --text FILE",
                        "KL divergence, perplexity and agreement against a reference.",
                        2,
                        64,
                        eval_options,
                        run,
                        show};

} // namespace bitlathe
