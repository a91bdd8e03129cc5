// SPDX-License-Identifier: Apache-2.0
#include "core/eval/attribute.h"

#include <array>
#include <cmath>

namespace bitlathe {

namespace {

constexpr std::array kinds{std::pair("module", "modules"), std::pair("block", "blocks"),
                           std::pair("role", "roles"), std::pair("kv", "keys_and_values")};

OrderedJson number(double value) {
  return std::isfinite(value) ? OrderedJson(value) : OrderedJson();
}

OrderedJson to_json(const AttributionFigures& figures) {
  if (!figures)
    return nullptr;
  return {{"kld_mean", number(figures.kld)},
          {"kld_stderr", number(figures.kld_stderr)},
          {"nll_difference", number(figures.nll_difference)},
          {"nll_stderr", number(figures.nll_stderr)},
          {"tokens", figures.tokens}};
}

OrderedJson to_json(const PredictedFigure& figure) {
  if (!figure)
    return nullptr;
  return {{"kld_mean", number(figure.kld)},
          {"kld_stderr", number(figure.kld_stderr)},
          {"unscaled", number(figure.raw)},
          {"samples", figure.samples}};
}

OrderedJson to_json(const AttributionRow& row) {
  OrderedJson out{{"name", row.name},
                  {"role", row.role},
                  {"layer", row.layer},
                  {"scheme", row.scheme},
                  {"bytes", row.bytes},
                  {"parameters", row.parameters},
                  {"weight_error", number(row.weight_error)},
                  {"alone", to_json(row.alone)},
                  {"without", to_json(row.without)}};
  if (row.without) {
    out["fall"] = number(row.fall);
    out["fall_stderr"] = number(row.fall_stderr);
  }
  if (row.predicted)
    out["predicted"] = to_json(row.predicted);
  if (row.modules.size() != 1 || row.modules.front() != row.name)
    out["modules"] = row.modules;
  if (!row.problem.empty())
    out["problem"] = row.problem;
  out["kept"] = row.kept;
  out["signature"] = row.signature;
  return out;
}

OrderedJson to_json(const ModuleCurve& curve) {
  OrderedJson out{{"name", curve.name},
                  {"role", curve.role},
                  {"layer", curve.layer},
                  {"parameters", curve.parameters},
                  {"bytes", curve.bytes}};
  out["points"] = OrderedJson::array();
  for (const CurvePoint& point : curve.points) {
    OrderedJson entry{{"scheme", point.scheme},
                      {"method", point.method},
                      {"bytes", point.bytes},
                      {"bits", number(point.bits)},
                      {"weight_error", number(point.weight_error)},
                      {"measured", to_json(point.measured)}};
    if (!point.asked.empty())
      entry["asked"] = point.asked;
    if (point.predicted)
      entry["predicted"] = to_json(point.predicted);
    if (!point.problem.empty())
      entry["problem"] = point.problem;
    entry["kept"] = point.kept;
    out["points"].push_back(std::move(entry));
  }
  return out;
}

OrderedJson to_json(const PredictionQuality& quality) {
  OrderedJson out{{"samples", quality.samples},
                  {"measured", quality.measured},
                  {"held_out", quality.held_out},
                  {"median_error", number(quality.median_error)},
                  {"p90_error", number(quality.p90_error)},
                  {"rank_correlation", number(quality.rank_correlation)},
                  {"unscaled_median_error", number(quality.raw_median_error)},
                  {"unscaled_rank_correlation", number(quality.raw_rank_correlation)},
                  {"seconds", number(quality.seconds)}};
  out["scales"] = OrderedJson::object();
  for (const auto& [role, scale] : quality.scales)
    out["scales"][role] = number(scale);
  return out;
}

/// Members of JSON from anywhere: what is missing or of another type leaves the value as it is.
class Reader {
 public:
  explicit Reader(const Json& json) : json_(json.is_object() ? json : empty()) {}

  const Json& at(const char* key) const {
    const auto it = json_.find(key);
    return it == json_.end() ? nothing() : *it;
  }
  void read(const char* key, double& to) const {
    const Json& value = at(key);
    if (value.is_number() && std::isfinite(value.get<double>()))
      to = value.get<double>();
  }
  void read(const char* key, bool& to) const {
    if (at(key).is_boolean())
      to = at(key).get<bool>();
  }
  void read(const char* key, std::string& to) const {
    if (at(key).is_string())
      to = at(key).get<std::string>();
  }
  void read(const char* key, std::vector<std::string>& to) const {
    if (!at(key).is_array())
      return;
    to.clear();
    for (const Json& value : at(key))
      if (value.is_string())
        to.push_back(value.get<std::string>());
  }
  /// Whole numbers that are not negative, and -1 for layers.
  template <class T> void read_count(const char* key, T& to) const {
    const Json& value = at(key);
    if (!value.is_number())
      return;
    const double number = value.get<double>();
    constexpr double least = std::is_signed_v<T> ? -1 : 0;
    const double most = sizeof(T) < 8 ? 2e9 : 9e18;
    if (number >= least && number <= most)
      to = value.is_number_float() ? T(number) : value.get<T>();
  }

 private:
  static const Json& empty() {
    static const Json json = Json::object();
    return json;
  }
  static const Json& nothing() {
    static const Json json;
    return json;
  }
  const Json& json_;
};

AttributionFigures figures_from(const Json& json) {
  AttributionFigures out;
  const Reader reader(json);
  reader.read("kld_mean", out.kld);
  reader.read("kld_stderr", out.kld_stderr);
  reader.read("nll_difference", out.nll_difference);
  reader.read("nll_stderr", out.nll_stderr);
  reader.read_count("tokens", out.tokens);
  out.tokens = std::max<std::int64_t>(out.tokens, 0);
  return out;
}

PredictedFigure predicted_from(const Json& json) {
  PredictedFigure out;
  const Reader reader(json);
  reader.read("kld_mean", out.kld);
  reader.read("kld_stderr", out.kld_stderr);
  reader.read("unscaled", out.raw);
  reader.read_count("samples", out.samples);
  out.samples = std::max<std::int64_t>(out.samples, 0);
  return out;
}

AttributionRow row_from(const Json& json, const char* kind) {
  AttributionRow row;
  const Reader reader(json);
  row.kind = kind;
  reader.read("name", row.name);
  reader.read("role", row.role);
  reader.read_count("layer", row.layer);
  reader.read("scheme", row.scheme);
  reader.read_count("bytes", row.bytes);
  reader.read_count("parameters", row.parameters);
  reader.read("weight_error", row.weight_error);
  row.alone = figures_from(reader.at("alone"));
  row.without = figures_from(reader.at("without"));
  reader.read("fall", row.fall);
  reader.read("fall_stderr", row.fall_stderr);
  row.predicted = predicted_from(reader.at("predicted"));
  row.modules = {row.name};
  reader.read("modules", row.modules);
  reader.read("problem", row.problem);
  reader.read("kept", row.kept);
  reader.read("signature", row.signature);
  return row;
}

ModuleCurve curve_from(const Json& json) {
  ModuleCurve curve;
  const Reader reader(json);
  reader.read("name", curve.name);
  reader.read("role", curve.role);
  reader.read_count("layer", curve.layer);
  reader.read_count("parameters", curve.parameters);
  reader.read_count("bytes", curve.bytes);
  if (!reader.at("points").is_array())
    return curve;
  for (const Json& entry : reader.at("points")) {
    CurvePoint point;
    const Reader from(entry);
    from.read("scheme", point.scheme);
    from.read("method", point.method);
    from.read("asked", point.asked);
    from.read_count("bytes", point.bytes);
    from.read("bits", point.bits);
    from.read("weight_error", point.weight_error);
    point.measured = figures_from(from.at("measured"));
    point.predicted = predicted_from(from.at("predicted"));
    from.read("kept", point.kept);
    from.read("problem", point.problem);
    curve.points.push_back(std::move(point));
  }
  return curve;
}

} // namespace

OrderedJson attribution_to_json(const AttributionReport& report) {
  OrderedJson out{
      {"reference", report.reference},
      {"candidate", report.candidate},
      {"context", report.context},
      {"windows", report.windows},
      {"tokens", report.tokens},
      {"reference_perplexity", number(report.reference_perplexity)},
      {"control", to_json(report.control)},
      {"noise_floor", report.noise_floor < 0 ? OrderedJson() : number(report.noise_floor)},
      {"whole", to_json(report.whole)}};
  out["additivity"] = {{"parts", report.parts},
                       {"sum_alone", number(report.sum_alone)},
                       {"ratio_alone", number(report.ratio_alone)},
                       {"complete_alone", report.all_alone},
                       {"sum_fall", number(report.sum_fall)},
                       {"ratio_fall", number(report.ratio_fall)},
                       {"complete_fall", report.all_fall}};
  for (const auto& [key, error] : {std::pair("ratio_alone_stderr", report.ratio_alone_stderr),
                                   {"ratio_fall_stderr", report.ratio_fall_stderr}})
    out["additivity"][key] = error < 0 ? OrderedJson() : number(error);
  for (const auto& [kind, key] : kinds) {
    out[key] = OrderedJson::array();
    for (const AttributionRow& row : report.rows)
      if (row.kind == kind)
        out[key].push_back(to_json(row));
  }
  out["curves"] = OrderedJson::array();
  for (const ModuleCurve& curve : report.curves)
    out["curves"].push_back(to_json(curve));
  out["prediction"] =
      report.prediction.samples > 0 ? to_json(report.prediction) : OrderedJson(nullptr);
  out["cost"] = {{"seconds", number(report.cost.seconds)},
                 {"blocks_run", report.cost.blocks_run},
                 {"blocks_repeated", report.cost.blocks_repeated},
                 {"blocks_of_whole_runs", report.cost.blocks_whole},
                 {"stream_bytes", report.cost.stream_bytes},
                 {"logit_bytes", report.cost.logit_bytes},
                 {"weight_bytes", report.cost.weight_bytes}};
  out["signatures"] = {{"reference", report.reference_signature},
                       {"candidate", report.candidate_signature},
                       {"text", report.text_signature}};
  out["cancelled"] = report.cancelled;
  out["notes"] = report.notes;
  return out;
}

AttributionReport attribution_from_json(const Json& json) {
  AttributionReport out;
  const Reader reader(json);
  reader.read("reference", out.reference);
  reader.read("candidate", out.candidate);
  reader.read_count("context", out.context);
  reader.read_count("windows", out.windows);
  reader.read_count("tokens", out.tokens);
  reader.read("reference_perplexity", out.reference_perplexity);
  out.control = figures_from(reader.at("control"));
  reader.read("noise_floor", out.noise_floor);
  out.whole = figures_from(reader.at("whole"));
  for (const auto& [kind, key] : kinds)
    if (reader.at(key).is_array())
      for (const Json& row : reader.at(key))
        out.rows.push_back(row_from(row, kind));
  if (reader.at("curves").is_array())
    for (const Json& curve : reader.at("curves"))
      out.curves.push_back(curve_from(curve));
  const Reader sums(reader.at("additivity"));
  sums.read_count("parts", out.parts);
  sums.read("ratio_alone_stderr", out.ratio_alone_stderr);
  sums.read("ratio_fall_stderr", out.ratio_fall_stderr);
  const Reader quality(reader.at("prediction"));
  PredictionQuality& prediction = out.prediction;
  quality.read_count("samples", prediction.samples);
  quality.read_count("measured", prediction.measured);
  quality.read_count("held_out", prediction.held_out);
  quality.read("median_error", prediction.median_error);
  quality.read("p90_error", prediction.p90_error);
  quality.read("rank_correlation", prediction.rank_correlation);
  quality.read("unscaled_median_error", prediction.raw_median_error);
  quality.read("unscaled_rank_correlation", prediction.raw_rank_correlation);
  quality.read("seconds", prediction.seconds);
  if (quality.at("scales").is_object())
    for (const auto& [role, scale] : quality.at("scales").items())
      if (scale.is_number())
        prediction.scales[role] = scale.get<double>();
  const Reader cost(reader.at("cost"));
  cost.read("seconds", out.cost.seconds);
  cost.read_count("blocks_run", out.cost.blocks_run);
  cost.read_count("blocks_repeated", out.cost.blocks_repeated);
  cost.read_count("blocks_of_whole_runs", out.cost.blocks_whole);
  cost.read_count("stream_bytes", out.cost.stream_bytes);
  cost.read_count("logit_bytes", out.cost.logit_bytes);
  cost.read_count("weight_bytes", out.cost.weight_bytes);
  const Reader signatures(reader.at("signatures"));
  signatures.read("reference", out.reference_signature);
  signatures.read("candidate", out.candidate_signature);
  signatures.read("text", out.text_signature);
  reader.read("cancelled", out.cancelled);
  reader.read("notes", out.notes);
  out.add_up();
  return out;
}

} // namespace bitlathe
