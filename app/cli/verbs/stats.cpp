// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/steps.h"

#include "core/eval/weight_stats.h"

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

Result<OrderedJson> run(Invocation& invocation) {
  TRY_ASSIGN(const auto model, open_model(invocation.arguments[0]));
  TRY_ASSIGN(Compute * compute, invocation.compute());
  TRY_ASSIGN(const std::int64_t samples, invocation.integer("samples", 16, 1));
  TRY_ASSIGN(const std::int64_t length, invocation.integer("length", 256, 2));
  TRY_ASSIGN(const std::int64_t seed, invocation.integer("seed", 0, 0));
  std::optional<ActivationStatistics> activations;
  if (invocation.has("calibration")) {
    TRY_ASSIGN(activations, collect_statistics(model, *compute, calibration_files(invocation),
                                               samples, length, seed, invocation.feedback));
  }
  OrderedJson json;
  json["modules"] = OrderedJson::array();
  invocation.feedback.done = 0;
  invocation.feedback.total = model->modules.size();
  for (const Module& module : model->modules) {
    invocation.feedback.advance(1);
    if (!module.weight.scheme.family)
      continue;
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
      }
    json["modules"].push_back(std::move(entry));
  }
  return json;
}

void show(const OrderedJson& json, std::ostream& out) {
  TextTable table({"MODULE", "MIN", "MAX", "MEAN", "STD", "KURTOSIS", "OUTLIERS", "ACT ABSMAX",
                   "ACT OUTLIER CHANNELS"});
  const auto number = [](const OrderedJson& value) {
    return value.is_number() ? show_number(value.get<double>()) : std::string("-");
  };
  for (const auto& m : json["modules"]) {
    const auto& w = m["weight"];
    table.add({m["name"].get<std::string>(), number(w["min"]), number(w["max"]), number(w["mean"]),
               number(w["std"]), number(w["kurtosis"]), number(w["outlier_fraction"]),
               m.contains("activation") ? number(m["activation"]["absmax"]) : "-",
               m.contains("activation") ? std::to_string(m["activation"]["outlier_channels"].size())
                                        : "-"});
  }
  table.print(out);
}

constexpr VerbOption options[] = {
    {"calibration", "FILE", "Text to run through the model for activation statistics.", true},
    {"samples", "N", "Calibration windows (default 16)."},
    {"length", "N", "Tokens per window (default 256)."},
};

} // namespace

extern const Verb verb_stats;
const Verb verb_stats{
    "stats", "MODEL", "Per-module weight and activation statistics.", 1, 1, options, run, show};

} // namespace bitlathe
