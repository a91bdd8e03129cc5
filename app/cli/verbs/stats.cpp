// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/steps.h"

#include "core/calib/compare.h"
#include "core/eval/weight_compare.h"
#include "core/eval/weight_stats.h"
#include "core/schemes/activations.h"

#include <algorithm>
#include <ostream>

namespace bitlathe {

namespace {

OrderedJson moments_json(const Moments& m) {
  return {{"min", json_number(m.min)},
          {"max", json_number(m.max)},
          {"absmax", json_number(m.absmax)},
          {"mean", json_number(m.mean())},
          {"std", json_number(m.stddev())},
          {"kurtosis", json_number(m.kurtosis())},
          {"count", m.count},
          {"zeros", m.zeros},
          {"nan", m.nan},
          {"inf", m.inf}};
}

/// Two sets' inputs of one linear side by side; with the channels and both histograms in full when
/// single modules are asked for.
Result<OrderedJson> difference_json(const ActivationModule& first, const ActivationModule& second,
                                    bool whole) {
  TRY_ASSIGN(const ActivationDifference d, compare_activations(first, second));
  OrderedJson json{{"absmax", json_number(d.absmax[1])},
                   {"mean_square", json_number(d.mean_square[1])},
                   {"mean_square_ratio", json_number(d.mean_square[1] / d.mean_square[0])}};
  json["channel_absmax_ratio"] = {{"median", json_number(d.ratio_median)},
                                  {"min", json_number(d.ratio_min)},
                                  {"min_channel", d.ratio_min_channel},
                                  {"max", json_number(d.ratio_max)},
                                  {"max_channel", d.ratio_max_channel}};
  json["channels"] = d.channels;
  json["channels_over_twice"] = d.channels_over_twice;
  json["histogram_distance"] = json_number(d.histogram_distance);
  json["transport_distance"] = json_number(d.transport_distance);
  json["importance_rank_correlation"] = json_number(d.rank_correlation);
  if (whole) {
    json["channel_absmax"] = {first.channel_absmax(), second.channel_absmax()};
    json["channel_mean_square"] = {first.importance(), second.importance()};
    const CommonHistogram histogram = common_histogram(first, second, 256);
    json["histogram"] = {{"edges", histogram.edges},
                         {"shares", {histogram.shares[0], histogram.shares[1]}}};
  }
  return json;
}

void show_sets(const OrderedJson& json, std::ostream& out) {
  show_coverage(json["coverage"], out);
  show_coverage(json["against_coverage"], out);
  for (const auto& note : json["notes"])
    out << "note: " << note.get<std::string>() << '\n';
  TextTable table({"MODULE", "ABSMAX", "AGAINST", "CHANNEL RATIO", "OVER 2x", "MEAN SQUARE RATIO",
                   "HISTOGRAMS APART", "MOVED (STD)", "RANK CORRELATION"});
  const auto number = [](const OrderedJson& value, int digits = 4) {
    return value.is_number() ? show_number(value.get<double>(), digits) : std::string("-");
  };
  for (const auto& m : json["modules"]) {
    if (!m.contains("activation_against"))
      continue;
    const auto& a = m["activation_against"];
    const auto& ratio = a["channel_absmax_ratio"];
    table.add({m["name"].get<std::string>(), number(m["activation"]["absmax"]), number(a["absmax"]),
               number(ratio["min"], 3) + " .. " + number(ratio["median"], 3) + " .. " +
                   number(ratio["max"], 3),
               a["channels_over_twice"].dump() + " of " + a["channels"].dump(),
               number(a["mean_square_ratio"]), number(a["histogram_distance"]),
               number(a["transport_distance"]), number(a["importance_rank_correlation"], 5)});
  }
  table.print(out);
}

/// The share of one set's text that is in the other.
void note_shared(const Collected& first, const Collected& second, OrderedJson& notes) {
  const auto length = std::int64_t(second.set.samples.front().size());
  std::int64_t met = 0;
  for (const auto& sample : second.set.samples)
    for (const bool overlap : windows_that_overlap(first.set.record, sample, length))
      met += overlap;
  if (met > 0)
    notes.push_back("The two sets share text: " + std::to_string(met) + " of the " +
                    std::to_string(second.set.samples.size()) +
                    " windows of the second hold text of the first");
}

/// How far the other checkpoint's weight is from this one, or why that cannot be said.
Result<OrderedJson> against(const Module& module, const Module* other, Compute& compute,
                            Feedback& feedback) {
  if (!other)
    return OrderedJson{{"reason", "The other checkpoint has no such module"}};
  OrderedJson json{{"name", other->name}, {"scheme", other->weight.scheme.id}};
  if (auto reason = why_not_comparable(module, *other); !reason.empty()) {
    json["reason"] = std::move(reason);
    return json;
  }
  TRY_ASSIGN(const ErrorSums sums, weight_error(module, *other, compute, feedback));
  json["mse"] = json_number(sums.mse());
  json["sqnr_db"] = json_number(sums.sqnr_db());
  json["cosine"] = json_number(sums.cosine());
  json["max_abs"] = json_number(double(sums.max_abs_error));
  return json;
}

void show_against(const OrderedJson& json, std::ostream& out) {
  TextTable table({"MODULE", "AGAINST", "SCHEME", "MSE", "SQNR dB", "COSINE", "MAX ABS"});
  const auto number = [](const OrderedJson& value, int digits) {
    return value.is_number() ? show_number(value.get<double>(), digits) : std::string("nan");
  };
  for (const auto& m : json["modules"]) {
    const auto& a = m["against"];
    const auto name = m["name"].get<std::string>();
    if (a.contains("reason"))
      table.add({name, a["reason"].get<std::string>()});
    else
      table.add({name, a["name"] == m["name"] ? "same name" : a["name"].get<std::string>(),
                 a["scheme"].get<std::string>(), number(a["mse"], 4), number(a["sqnr_db"], 5),
                 number(a["cosine"], 8), number(a["max_abs"], 4)});
  }
  table.print(out);
  for (const auto& name : json["against"]["only_there"])
    out << "only in the other: " << name.get<std::string>() << '\n';
}

Result<OrderedJson> run(Invocation& invocation) {
  TRY_ASSIGN(const auto model, open_model(invocation.arguments[0]));
  TRY_ASSIGN(Compute * compute, invocation.compute());
  TRY_ASSIGN(const std::int64_t samples, invocation.integer("samples", 16, 1));
  TRY_ASSIGN(const std::int64_t length, invocation.integer("length", 256, 2));
  TRY_ASSIGN(const std::int64_t seed, invocation.integer("seed", 0, 0));
  if (invocation.has("against-calibration") && !invocation.has("calibration"))
    return usage_error("--against-calibration goes with --calibration");
  const std::string pattern = invocation.text("module");
  if (!pattern.empty()) {
    bool any = false;
    for (const Module& module : model->modules) {
      TRY_ASSIGN(const bool match, pattern_matches(pattern, module.name));
      any |= match;
    }
    if (!any)
      return Error{"not-found", "No module is called \"" + pattern + "\"", model->path.string()};
  }
  TRY_ASSIGN(const auto files, calibration_files(invocation));
  TRY_ASSIGN(const auto other_files, calibration_files(invocation, "against-calibration"));
  std::optional<Collected> collected, second;
  const ActivationStatistics* activations = nullptr;
  if (!files.empty()) {
    TRY_ASSIGN(collected, collect_statistics(model, *compute, files, samples, length, seed,
                                             invocation.feedback));
    activations = &collected->statistics;
  }
  if (!other_files.empty()) {
    TRY_ASSIGN(second, collect_statistics(model, *compute, other_files, samples, length, seed,
                                          invocation.feedback));
  }
  std::shared_ptr<const Checkpoint> other;
  std::optional<ModuleMatcher> matcher;
  OrderedJson json;
  json["notes"] = OrderedJson::array();
  if (collected) {
    json["coverage"] = coverage_to_json(collected->set);
    for (const std::string& note : collected->set.notes)
      json["notes"].push_back(note);
  }
  if (second) {
    json["against_coverage"] = coverage_to_json(second->set);
    for (const std::string& note : second->set.notes)
      json["notes"].push_back(note);
    note_shared(*collected, *second, json["notes"]);
  }
  if (invocation.has("against")) {
    TRY_ASSIGN(other, open_model(invocation.text("against")));
    matcher.emplace(*model, *other);
    OrderedJson only_there = OrderedJson::array();
    for (const Module* module : matcher->left_over())
      only_there.push_back(module->name);
    json["against"] = {{"path", other->path.string()},
                       {"format", other->format},
                       {"bytes", other->bytes()},
                       {"only_there", std::move(only_there)}};
  }
  json["modules"] = OrderedJson::array();
  invocation.feedback.done = 0;
  invocation.feedback.total = model->modules.size();
  for (const Module& module : model->modules) {
    invocation.feedback.advance(1);
    if (!module.weight.scheme.family)
      continue;
    if (!pattern.empty()) {
      TRY_ASSIGN(const bool match, pattern_matches(pattern, module.name));
      if (!match)
        continue;
    }
    TRY_ASSIGN(const WeightStatistics weight,
               weight_statistics(module, *compute, false, invocation.feedback));
    OrderedJson entry;
    entry["name"] = module.name;
    entry["role"] = module.role;
    entry["weight"] = moments_json(weight.moments);
    entry["weight"]["outlier_fraction"] = weight.outlier_fraction;
    if (activations)
      if (const auto it = activations->modules.find(module.name);
          it != activations->modules.end()) {
        entry["activation"] = moments_json(it->second.moments);
        entry["activation"]["tokens"] = it->second.tokens;
        entry["activation"]["outlier_channels"] = it->second.outlier_channels();
        // What LLM.int8() would keep in f16 if all of the text were one batch.
        const auto absmax = it->second.channel_absmax();
        entry["activation"]["columns_over_6"] = std::count_if(
            absmax.begin(), absmax.end(), [](float a) { return a >= standard_outlier_threshold; });
        entry["activation"]["columns"] = absmax.size();
        if (second) {
          TRY_ASSIGN(entry["activation_against"],
                     difference_json(it->second, second->statistics.modules.at(module.name),
                                     !pattern.empty()));
        }
      }
    if (matcher) {
      TRY_ASSIGN(entry["against"],
                 against(module, matcher->find(module), *compute, invocation.feedback));
    }
    json["modules"].push_back(std::move(entry));
  }
  return json;
}

void show(const OrderedJson& json, std::ostream& out) {
  if (json.contains("against")) {
    show_against(json, out);
    return;
  }
  if (json.contains("against_coverage")) {
    show_sets(json, out);
    return;
  }
  if (json.contains("coverage"))
    show_coverage(json["coverage"], out);
  for (const auto& note : json["notes"])
    out << "note: " << note.get<std::string>() << '\n';
  TextTable table({"MODULE", "MIN", "MAX", "MEAN", "STD", "KURTOSIS", "OUTLIERS", "ACT ABSMAX",
                   "ACT OUTLIER CHANNELS", "OVER 6.0"});
  const auto number = [](const OrderedJson& value) {
    return value.is_number() ? show_number(value.get<double>()) : std::string("-");
  };
  for (const auto& m : json["modules"]) {
    const auto& w = m["weight"];
    table.add({m["name"].get<std::string>(), number(w["min"]), number(w["max"]), number(w["mean"]),
               number(w["std"]), number(w["kurtosis"]), number(w["outlier_fraction"]),
               m.contains("activation") ? number(m["activation"]["absmax"]) : "-",
               m.contains("activation") ? std::to_string(m["activation"]["outlier_channels"].size())
                                        : "-",
               m.contains("activation") ? m["activation"]["columns_over_6"].dump() + " of " +
                                              m["activation"]["columns"].dump()
                                        : "-"});
  }
  table.print(out);
}

constexpr VerbOption options[] = {
    {"calibration", calibration_value,
     "Text, or .jsonl of documents or chats, to run through the model for activation statistics.",
     true},
    {"against-calibration", calibration_value,
     "A second set: how the inputs of every linear differ from the first's.", true},
    {"module", "PATTERN", "Only modules that match; two sets are then given in full detail."},
    {"against", "OTHER", "Error figures of another checkpoint's weights, module by module."},
    {"samples", "N", "Calibration windows (default 16)."},
    {"length", "N", "Tokens per window (default 256)."},
};

} // namespace

extern const Verb verb_stats;
const Verb verb_stats{
    "stats", "MODEL", "Per-module weight and activation statistics.", 1, 1, options, run, show};

} // namespace bitlathe
