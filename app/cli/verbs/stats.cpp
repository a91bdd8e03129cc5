// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/steps.h"

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
  std::optional<ActivationStatistics> activations;
  if (invocation.has("calibration")) {
    TRY_ASSIGN(activations, collect_statistics(model, *compute, calibration_files(invocation),
                                               samples, length, seed, invocation.feedback));
  }
  std::shared_ptr<const Checkpoint> other;
  std::optional<ModuleMatcher> matcher;
  OrderedJson json;
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
    {"calibration", "FILE", "Text to run through the model for activation statistics.", true},
    {"against", "OTHER", "Error figures of another checkpoint's weights, module by module."},
    {"samples", "N", "Calibration windows (default 16)."},
    {"length", "N", "Tokens per window (default 256)."},
};

} // namespace

extern const Verb verb_stats;
const Verb verb_stats{
    "stats", "MODEL", "Per-module weight and activation statistics.", 1, 1, options, run, show};

} // namespace bitlathe
