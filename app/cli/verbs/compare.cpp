// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/eval_options.h"
#include "app/cli/report_file.h"
#include "app/cli/steps.h"
#include "core/eval/compare_json.h"
#include "core/report/comparison.h"
#include "core/text/tokenizer.h"

#include <algorithm>
#include <array>
#include <ostream>

namespace bitlathe {

namespace {

/// The tokens where a candidate is farthest off, with the text before them.
OrderedJson worst_json(const CompareResult& model, const Tokenizer* tokenizer, const EvalText& text,
                       std::int64_t most) {
  constexpr std::int64_t shown_before = 24;
  OrderedJson out = OrderedJson::array();
  for (const WorstToken& worst : model.worst) {
    if (std::int64_t(out.size()) == most)
      break;
    OrderedJson entry{{"window", worst.window},
                      {"position", worst.position},
                      {"kld", json_number(worst.kld)},
                      {"id", worst.token},
                      {"reference_probability", json_number(worst.reference_probability)},
                      {"probability", json_number(worst.candidate_probability)},
                      {"reference_top", worst.reference_top},
                      {"top", worst.candidate_top}};
    if (tokenizer) {
      const auto end = worst.window * text.context + worst.position;
      const auto begin = std::max(worst.window * text.context, end - shown_before);
      const auto before = std::span(text.ids).subspan(std::size_t(begin), std::size_t(end - begin));
      entry["before"] = tokenizer->decode(before);
      entry["token"] = tokenizer->piece(worst.token);
      entry["reference_top_token"] = tokenizer->piece(worst.reference_top);
      entry["top_token"] = tokenizer->piece(worst.candidate_top);
    }
    out.push_back(std::move(entry));
  }
  return out;
}

/// The same tables and charts as in the report on a session.
Result<void> save_report(const Invocation& invocation, const Checkpoint& reference,
                         const CompareReport& report, const EvalText& text) {
  report::ComparisonShown shown{report, reference.name, reference.bytes(), {}, nullptr, nullptr,
                                {}};
  shown.names.assign(invocation.arguments.begin() + 1, invocation.arguments.end());
  shown.tokenizer = reference.tokenizer.get();
  shown.text = &text;
  shown.judged_on = (invocation.has("text") ? invocation.text("text") : invocation.text("ids")) +
                    ", " + std::to_string(report.reference_window_nll.size()) + " windows of " +
                    std::to_string(text.context) + " tokens";
  report::Document document{"Comparison with " + reference.name, reference.path.string(), {}};
  document.sections.push_back({"quality", "Quality on text", {}});
  add_comparison(shown, document.sections.back().blocks);
  return write_report(document, invocation.text("report"));
}

Result<OrderedJson> run(Invocation& invocation) {
  if (invocation.has("report"))
    TRY(check_report_name(invocation.text("report")));
  TRY_ASSIGN(const std::int64_t most_worst, invocation.integer("worst", 10, 0));
  TRY_ASSIGN(const auto reference, open_model(invocation.arguments[0]));
  std::vector<std::shared_ptr<const Checkpoint>> models;
  for (std::size_t i = 1; i < invocation.arguments.size(); ++i) {
    TRY_ASSIGN(auto model, open_model(invocation.arguments[i]));
    models.push_back(std::move(model));
  }
  TRY_ASSIGN(const JudgedFile given, eval_text_from_options(invocation, *reference));
  const EvalText& text = given.text;
  TRY_ASSIGN(Compute * compute, invocation.compute());
  TRY_ASSIGN(const EngineOptions run_options, engine_options(invocation, *compute));
  EngineOptions plain_options, rounded_options;
  plain_options.residency = rounded_options.residency = run_options.residency;
  TRY_ASSIGN(const auto engine, Engine::create(reference, *compute, plain_options));
  rounded_options.round_weights_to_f16 = true;
  TRY_ASSIGN(const auto rounded, Engine::create(reference, *compute, rounded_options));
  std::vector<std::unique_ptr<Engine>> engines;
  std::vector<Engine*> candidates;
  for (const auto& model : models) {
    TRY_ASSIGN(auto candidate, Engine::create(model, *compute, run_options));
    candidates.push_back(candidate.get());
    engines.push_back(std::move(candidate));
  }
  TRY_ASSIGN(const CompareReport report,
             compare(*engine, candidates, rounded.get(), text, invocation.feedback));
  if (invocation.has("report"))
    TRY(save_report(invocation, *reference, report, text));
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
    json["models"].push_back(
        {{"path", invocation.arguments[i + 1]},
         {"bytes", m.bytes},
         {"perplexity", json_number(m.perplexity)},
         {"stderr", json_number(m.perplexity_stderr)},
         {"ppl_ratio", json_number(m.ppl_ratio)},
         {"ppl_ratio_stderr", json_number(m.ppl_ratio_stderr)},
         {"kld_mean", json_number(m.kld_mean)},
         {"kld_stderr", json_number(m.kld_stderr)},
         {"kld_median", json_number(m.kld_median)},
         {"kld_p90", json_number(m.kld_p90)},
         {"kld_p99", json_number(m.kld_p99)},
         {"kld_max", json_number(m.kld_max)},
         {"kld_reverse_mean", json_number(m.kld_reverse_mean)},
         {"kld_reverse_stderr", json_number(m.kld_reverse_stderr)},
         {"top1_agreement", json_number(m.top1_agreement)},
         {"top5_agreement", json_number(m.top5_agreement)},
         {"probability_drift_mean", json_number(m.drift_mean)},
         {"probability_drift_rms", json_number(m.drift_rms)},
         {"by_position", part_figures_to_json(m.by_position)},
         {"by_class", part_figures_to_json(m.by_class)},
         {"worst", worst_json(m, reference->tokenizer.get(), text, most_worst)},
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
  add_residency(run_options, json);
  return json;
}

std::string number(const OrderedJson& value, int digits = 4) {
  return value.is_number() ? show_number(value.get<double>(), digits) : std::string("-");
}

/// A text in one line, in quotes.
std::string quoted(const OrderedJson& value) {
  return value.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

void show_where(const OrderedJson& model, std::ostream& out) {
  TextTable kinds({"TOKENS", "COUNT", "KL MEAN", "NLL LOST"});
  for (const char* list : {"by_class", "by_position"})
    for (const auto& part : model[list])
      kinds.add({(std::string_view(list) == "by_position" ? "position " : "") +
                     part["name"].get<std::string>(),
                 std::to_string(part["tokens"].get<std::int64_t>()),
                 number(part["kld_mean"]) + " +/- " + number(part["kld_stderr"], 2),
                 number(part["nll_difference"])});
  kinds.print(out);
  if (model["worst"].empty() || !model["worst"][0].contains("token"))
    return;
  TextTable worst({"WORST TOKENS", "KL", "P REFERENCE", "P HERE", "LIKELIEST", "HERE"});
  for (const auto& token : model["worst"])
    worst.add({quoted(token["token"]), number(token["kld"], 3),
               number(token["reference_probability"], 3), number(token["probability"], 3),
               quoted(token["reference_top_token"]), quoted(token["top_token"])});
  worst.print(out);
}

void show(const OrderedJson& json, std::ostream& out) {
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
  if (json["models"].size() == 1)
    show_where(json["models"][0], out);
  out << "noise floor (the reference with its weights rounded): KL " << number(json["noise_floor"])
      << '\n';
  if (!indistinct.empty())
    out << "not distinguishable from the reference: " << indistinct << '\n';
  for (const auto& note : json["notes"])
    out << "note: " << note.get<std::string>() << '\n';
}

constexpr auto compare_options = [] {
  std::array<VerbOption, std::size(eval_options) + 2> out;
  std::copy(std::begin(eval_options), std::end(eval_options), out.begin());
  out[out.size() - 2] = {"report", "FILE",
                         "Also write tables and charts as a .html page or a .pdf."};
  out.back() = {"worst", "N",
                "Tokens listed where a candidate is farthest off (default 10, most 50)."};
  return out;
}();

} // namespace

extern const Verb verb_compare;
const Verb verb_compare{"compare",
                        "REF CANDIDATE... --text FILE",
                        "KL divergence, perplexity and agreement against a reference.",
                        2,
                        64,
                        compare_options,
                        run,
                        show};

} // namespace bitlathe
