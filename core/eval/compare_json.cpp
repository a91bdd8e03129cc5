// SPDX-License-Identifier: Apache-2.0
#include "core/eval/compare_json.h"

#include "core/base/lenient_json.h"

#include <algorithm>

namespace bitlathe {

namespace {

/// Members that are one number each, once for both directions.
struct Figure {
  const char* key;
  double CompareResult::*value;
};
constexpr Figure figures[] = {{"perplexity", &CompareResult::perplexity},
                              {"perplexity_stderr", &CompareResult::perplexity_stderr},
                              {"reference_perplexity", &CompareResult::reference_perplexity},
                              {"ppl_ratio", &CompareResult::ppl_ratio},
                              {"ppl_ratio_stderr", &CompareResult::ppl_ratio_stderr},
                              {"kld_mean", &CompareResult::kld_mean},
                              {"kld_stderr", &CompareResult::kld_stderr},
                              {"kld_median", &CompareResult::kld_median},
                              {"kld_p90", &CompareResult::kld_p90},
                              {"kld_p99", &CompareResult::kld_p99},
                              {"kld_max", &CompareResult::kld_max},
                              {"kld_reverse_mean", &CompareResult::kld_reverse_mean},
                              {"kld_reverse_stderr", &CompareResult::kld_reverse_stderr},
                              {"top1_agreement", &CompareResult::top1_agreement},
                              {"top5_agreement", &CompareResult::top5_agreement},
                              {"drift_mean", &CompareResult::drift_mean},
                              {"drift_rms", &CompareResult::drift_rms},
                              {"seconds", &CompareResult::seconds}};

std::vector<PartFigures> parts_from_json(const Json& json, const char* key) {
  std::vector<PartFigures> out;
  for (const Json& part : lenient::list(json, key))
    out.push_back({lenient::text(part, "name"), lenient::integer(part, "tokens"),
                   lenient::number(part, "kld_mean"), lenient::number(part, "kld_stderr"),
                   lenient::number(part, "nll_difference")});
  return out;
}

OrderedJson worst_to_json(const std::vector<WorstToken>& tokens) {
  OrderedJson out = OrderedJson::array();
  for (const WorstToken& token : tokens)
    out.push_back({{"window", token.window},
                   {"position", token.position},
                   {"token", token.token},
                   {"reference_top", token.reference_top},
                   {"candidate_top", token.candidate_top},
                   {"kld", json_number(token.kld)},
                   {"reference_probability", json_number(token.reference_probability)},
                   {"candidate_probability", json_number(token.candidate_probability)}});
  return out;
}

std::int32_t token_id(const Json& json, const char* key) {
  const std::int64_t id = lenient::integer(json, key, -1);
  return id >= 0 && id <= std::numeric_limits<std::int32_t>::max() ? std::int32_t(id) : -1;
}

std::vector<WorstToken> worst_from_json(const Json& json) {
  std::vector<WorstToken> out;
  for (const Json& token : lenient::list(json, "worst"))
    out.push_back({lenient::integer(token, "window"), lenient::integer(token, "position"),
                   token_id(token, "token"), token_id(token, "reference_top"),
                   token_id(token, "candidate_top"), lenient::number(token, "kld"),
                   lenient::number(token, "reference_probability"),
                   lenient::number(token, "candidate_probability")});
  return out;
}

} // namespace

OrderedJson part_figures_to_json(const std::vector<PartFigures>& parts) {
  OrderedJson out = OrderedJson::array();
  for (const PartFigures& part : parts)
    out.push_back({{"name", part.name},
                   {"tokens", part.tokens},
                   {"kld_mean", json_number(part.kld_mean)},
                   {"kld_stderr", json_number(part.kld_stderr)},
                   {"nll_difference", json_number(part.nll_difference)}});
  return out;
}

OrderedJson compare_result_to_json(const CompareResult& result) {
  OrderedJson json{{"path", result.path}, {"bytes", result.bytes}, {"tokens", result.tokens}};
  for (const Figure& figure : figures)
    json[figure.key] = json_number(result.*figure.value);
  json["by_position"] = part_figures_to_json(result.by_position);
  json["by_class"] = part_figures_to_json(result.by_class);
  json["worst"] = worst_to_json(result.worst);
  json["window_nll"] = result.window_nll;
  json["window_kld"] = result.window_kld;
  json["notes"] = result.notes;
  return json;
}

OrderedJson compare_to_json(const CompareReport& report) {
  OrderedJson json{{"noise_floor", json_number(report.noise_floor)},
                   {"reference_perplexity", json_number(report.reference_perplexity)},
                   {"reference_stderr", json_number(report.reference_stderr)},
                   {"reference_seconds", json_number(report.reference_seconds)},
                   {"reference_window_nll", report.reference_window_nll},
                   {"notes", report.notes},
                   {"models", OrderedJson::array()}};
  for (const CompareResult& model : report.models)
    json["models"].push_back(compare_result_to_json(model));
  return json;
}

CompareResult compare_result_from_json(const Json& json) {
  CompareResult result;
  result.path = lenient::text(json, "path");
  result.bytes = std::uint64_t(std::max<std::int64_t>(0, lenient::integer(json, "bytes")));
  result.tokens = std::max<std::int64_t>(0, lenient::integer(json, "tokens"));
  for (const Figure& figure : figures)
    result.*figure.value = lenient::number(json, figure.key);
  result.by_position = parts_from_json(json, "by_position");
  result.by_class = parts_from_json(json, "by_class");
  result.worst = worst_from_json(json);
  result.window_nll = lenient::numbers(json, "window_nll");
  result.window_kld = lenient::numbers(json, "window_kld");
  result.notes = lenient::texts(json, "notes");
  return result;
}

CompareReport compare_from_json(const Json& json) {
  CompareReport report;
  report.noise_floor = lenient::number(json, "noise_floor");
  report.reference_perplexity = lenient::number(json, "reference_perplexity");
  report.reference_stderr = lenient::number(json, "reference_stderr");
  report.reference_seconds = lenient::number(json, "reference_seconds");
  report.reference_window_nll = lenient::numbers(json, "reference_window_nll");
  report.notes = lenient::texts(json, "notes");
  for (const Json& model : lenient::list(json, "models"))
    if (model.is_object())
      report.models.push_back(compare_result_from_json(model));
  return report;
}

} // namespace bitlathe
