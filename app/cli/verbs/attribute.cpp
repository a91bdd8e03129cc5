// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/eval/attribute.h"

#include "app/cli/eval_options.h"
#include "app/cli/steps.h"

#include <algorithm>
#include <cmath>
#include <ostream>

namespace bitlathe {

namespace {

/// Written at most this often while figures come.
constexpr double save_seconds = 5;

Result<void> save(const fs::path& path, const AttributionReport& report) {
  const std::string text = attribution_to_json(report).dump(1) + "\n";
  return write_file(path, text);
}

Result<std::vector<std::string>> schemes_of(const Invocation& invocation) {
  std::vector<std::string> out;
  for (const std::string& list : invocation.list("schemes"))
    for (std::size_t at = 0; at <= list.size();) {
      const std::size_t end = std::min(list.find(',', at), list.size());
      const std::string scheme = list.substr(at, end - at);
      if (scheme.empty())
        return usage_error("--schemes takes names of schemes with commas between them");
      if (std::find(out.begin(), out.end(), scheme) == out.end())
        out.push_back(scheme);
      at = end + 1;
    }
  return out;
}

Result<OrderedJson> run(Invocation& invocation) {
  AttributionOptions options;
  const std::string mode = invocation.text("mode", "swap-in");
  if (mode != "swap-in" && mode != "add-one" && mode != "both")
    return usage_error("--mode is swap-in, add-one or both");
  options.alone = mode != "add-one";
  options.without = mode != "swap-in";
  options.groups = !invocation.has("no-groups");
  options.noise_floor = !invocation.has("no-noise-floor");
  options.predict = invocation.has("predict");
  options.only = invocation.list("modules");
  options.method = invocation.text("method", "rtn");
  TRY_ASSIGN(options.measured_share, invocation.number("measure", 1, 0));
  if (options.measured_share > 1)
    return usage_error("--measure is a share from 0 to 1");
  TRY_ASSIGN(options.samples, invocation.integer("samples", options.samples, 2));
  TRY_ASSIGN(options.schemes, schemes_of(invocation));
  if (invocation.has("memory")) {
    TRY_ASSIGN(options.memory, parse_size(invocation.text("memory")));
  }
  TRY_ASSIGN(const std::int64_t seed, invocation.integer("seed", 0, 0));
  options.seed = std::uint64_t(seed);
  if (invocation.arguments.size() < 2 && options.schemes.empty())
    return usage_error("a CANDIDATE is needed, or --schemes to try on REF");

  TRY_ASSIGN(const auto reference, open_model(invocation.arguments[0]));
  std::shared_ptr<const Checkpoint> candidate;
  if (invocation.arguments.size() > 1) {
    TRY_ASSIGN(candidate, open_model(invocation.arguments[1]));
  }
  TRY_ASSIGN(Compute * compute, invocation.compute());
  TRY_ASSIGN(options.run, engine_options(invocation, *compute));
  TRY_ASSIGN(const JudgedFile given, eval_text_from_options(invocation, *reference));

  const fs::path file = invocation.text("keep");
  AttributionReport known;
  if (std::error_code ignored; !file.empty() && fs::exists(file, ignored)) {
    TRY_ASSIGN(const Json json, read_json_file(file));
    known = attribution_from_json(json);
    options.known = &known;
  }
  double saved = 0;
  Result<void> problem;
  options.on_change = [&](const AttributionReport& report) {
    if (file.empty() || !problem || report.cost.seconds - saved < save_seconds)
      return;
    saved = report.cost.seconds;
    problem = save(file, report);
    if (!problem) // no point in measuring what cannot be kept
      invocation.feedback.stop = true;
  };
  TRY_ASSIGN(AttributionReport report, attribute(*reference, candidate.get(), given.text, *compute,
                                                 options, invocation.feedback));
  TRY(problem);
  report.notes.insert(report.notes.begin(), given.notes.begin(), given.notes.end());
  for (const auto& path : invocation.arguments)
    for (std::string& note : overlap_notes(path, given, path))
      report.notes.push_back(std::move(note));
  if (!file.empty())
    TRY(save(file, report));
  if (report.cancelled)
    return cancelled_error();
  OrderedJson json = attribution_to_json(report);
  json["reference"] = invocation.arguments[0];
  json["candidate"] = candidate ? OrderedJson(invocation.arguments[1]) : OrderedJson();
  return json;
}

std::string number(const OrderedJson& value, int digits = 4) {
  return value.is_number() ? show_number(value.get<double>(), digits) : std::string("-");
}
std::string member(const OrderedJson& figures, const char* key, int digits = 4) {
  return figures.is_object() ? number(figures[key], digits) : std::string("-");
}

void show_rows(const OrderedJson& json, const char* list, std::ostream& out) {
  std::vector<const OrderedJson*> rows;
  bool alone = false, without = false, predicted = false;
  for (const auto& row : json[list]) {
    rows.push_back(&row);
    alone = alone || row["alone"].is_object();
    without = without || row["without"].is_object();
    predicted = predicted || row.contains("predicted");
  }
  if (rows.empty())
    return;
  const auto cost = [](const OrderedJson& row) {
    if (row["alone"].is_object() && row["alone"]["kld_mean"].is_number())
      return row["alone"]["kld_mean"].get<double>();
    if (row.contains("predicted") && row["predicted"]["kld_mean"].is_number())
      return row["predicted"]["kld_mean"].get<double>();
    return row.contains("fall") && row["fall"].is_number() ? row["fall"].get<double>() : 0.0;
  };
  std::stable_sort(rows.begin(), rows.end(),
                   [&](const auto* a, const auto* b) { return cost(*a) > cost(*b); });
  std::string title = list;
  std::replace(title.begin(), title.end(), '_', ' ');
  for (char& c : title)
    c = char(std::toupper(static_cast<unsigned char>(c)));
  std::vector<std::string> header{title, "SCHEME", "SIZE"};
  if (alone)
    header.insert(header.end(), {"KL ALONE", "+-", "NLL LOST"});
  if (predicted)
    header.insert(header.end(), {"PREDICTED", "+-"});
  if (without)
    header.insert(header.end(), {"KL FALLS BY", "+-"});
  TextTable table(header);
  for (const OrderedJson* row : rows) {
    std::vector<std::string> cells{(*row)["name"].get<std::string>(),
                                   (*row)["scheme"].get<std::string>(),
                                   show_bytes((*row)["bytes"].get<std::uint64_t>())};
    const OrderedJson nothing, &figures = (*row)["alone"];
    const OrderedJson& guess = row->contains("predicted") ? (*row)["predicted"] : nothing;
    if (alone)
      for (const char* key : {"kld_mean", "kld_stderr", "nll_difference"})
        cells.push_back(member(figures, key, key == std::string_view("kld_stderr") ? 2 : 4));
    if (predicted) {
      cells.push_back(member(guess, "kld_mean"));
      cells.push_back(member(guess, "kld_stderr", 2));
    }
    if (without) {
      cells.push_back(row->contains("fall") ? number((*row)["fall"]) : "-");
      cells.push_back(row->contains("fall") ? number((*row)["fall_stderr"], 2) : "-");
    }
    table.add(cells);
    if (row->contains("problem"))
      out << "note: " << (*row)["problem"].get<std::string>() << '\n';
  }
  table.print(out);
  out << '\n';
}

void show_curves(const OrderedJson& json, std::ostream& out) {
  std::vector<std::string> schemes;
  for (const auto& curve : json["curves"])
    for (const auto& point : curve["points"]) {
      const auto scheme = point["scheme"].get<std::string>();
      if (std::find(schemes.begin(), schemes.end(), scheme) == schemes.end())
        schemes.push_back(scheme);
    }
  if (schemes.empty())
    return;
  std::vector<std::string> header{"KL OF ONE MODULE IN"};
  header.insert(header.end(), schemes.begin(), schemes.end());
  TextTable table(header);
  bool predicted = false;
  for (const auto& curve : json["curves"]) {
    std::vector<std::string> cells{curve["name"].get<std::string>()};
    for (const std::string& scheme : schemes) {
      std::string cell = "-";
      for (const auto& point : curve["points"])
        if (point["scheme"] == scheme) {
          if (point["measured"].is_object()) {
            cell = member(point["measured"], "kld_mean", 3);
          } else if (point.contains("predicted")) {
            cell = "~" + member(point["predicted"], "kld_mean", 3);
            predicted = true;
          }
        }
      cells.push_back(cell);
    }
    table.add(cells);
  }
  table.print(out);
  out << (predicted ? "~ predicted\n\n" : "\n");
}

void show_additivity(const OrderedJson& json, std::ostream& out) {
  const OrderedJson& sums = json["additivity"];
  if (!json["whole"].is_object() || json["modules"].empty())
    return;
  if (sums["complete_alone"].get<bool>())
    out << "together the modules cost " << number(sums["sum_alone"]) << " alone, "
        << number(sums["ratio_alone"], 3)
        << (sums["ratio_alone_stderr"].is_number() ? " +- " + number(sums["ratio_alone_stderr"], 2)
                                                   : std::string())
        << " times what the whole candidate costs\n";
  if (sums["complete_fall"].get<bool>())
    out << "put back one at a time they save " << number(sums["sum_fall"]) << ", "
        << number(sums["ratio_fall"], 3)
        << (sums["ratio_fall_stderr"].is_number() ? " +- " + number(sums["ratio_fall_stderr"], 2)
                                                  : std::string())
        << " times what the whole candidate costs\n";
}

void show(const OrderedJson& json, std::ostream& out) {
  for (const char* list : {"roles", "blocks", "keys_and_values", "modules"})
    show_rows(json, list, out);
  show_curves(json, out);
  if (json["control"].is_object())
    out << "control, nothing exchanged: KL " << number(json["control"]["kld_mean"]) << '\n';
  if (json["noise_floor"].is_number())
    out << "noise floor, 16-bit rounding: KL " << number(json["noise_floor"]) << '\n';
  if (json["whole"].is_object())
    out << "the whole candidate: KL " << number(json["whole"]["kld_mean"]) << " +- "
        << number(json["whole"]["kld_stderr"], 2) << '\n';
  show_additivity(json, out);
  if (const OrderedJson& quality = json["prediction"]; quality.is_object())
    out << "predictions, by fits without the one in question: " << number(quality["held_out"])
        << " checked, half within " << show_number(100 * quality["median_error"].get<double>(), 3)
        << " %, nine of ten within " << show_number(100 * quality["p90_error"].get<double>(), 3)
        << " %, rank correlation " << number(quality["rank_correlation"], 3) << '\n';
  for (const auto& note : json["notes"])
    out << "note: " << note.get<std::string>() << '\n';
  const OrderedJson& cost = json["cost"];
  out << json["tokens"] << " tokens scored in " << json["windows"] << " windows, "
      << number(cost["seconds"], 3) << " s; " << cost["blocks_run"]
      << " blocks run where whole runs "
      << "would have taken " << cost["blocks_of_whole_runs"] << "; "
      << show_bytes(cost["stream_bytes"].get<std::uint64_t>()) << " of streams and "
      << show_bytes(cost["logit_bytes"].get<std::uint64_t>()) << " of logits kept\n";
}

const VerbOption options[] = {
    eval_options[0],
    eval_options[1],
    eval_options[2],
    eval_options[3],
    eval_options[4],
    eval_options[5],
    {"mode", "M",
     "swap-in (default): the original with one module of the candidate; add-one: the candidate "
     "with one module of the original; both."},
    {"modules", "PATTERN", "Only modules that match; then there are no groups.", true},
    {"no-groups", "", "Neither blocks nor roles."},
    {"no-noise-floor", "", "Do not measure what rounding to 16 bits does."},
    {"schemes", "S[,S...]", "Also: every module of REF in each of these schemes, alone.", true},
    {"method", "M", "Makes the codes of --schemes: rtn (default), mse, lloyd-max."},
    {"measure", "SHARE", "Measure only this share of the modules and predict the others."},
    {"predict", "", "Predict what is measured, too, and say how far off predictions are."},
    {"samples", "N", "Random directions that predictions are made from (default 128)."},
    {"memory", "SIZE",
     "For what is kept between runs (default 1G); what does not fit is computed again."},
    {"keep", "FILE",
     "Write figures here as they come; what this file has of the same modules is not measured "
     "again."},
};

} // namespace

extern const Verb verb_attribute;
const Verb verb_attribute{"attribute",
                          "REF [CANDIDATE] --text FILE",
                          "Which module costs what: exchanges one at a time.",
                          1,
                          2,
                          options,
                          run,
                          show};

} // namespace bitlathe
