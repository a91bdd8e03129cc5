// SPDX-License-Identifier: Apache-2.0
#include "core/base/lenient_json.h"
#include "core/eval/speed.h"

#include <algorithm>
#include <cmath>

namespace bitlathe {

namespace {

constexpr std::size_t most_runs = 1000;

OrderedJson spread_to_json(const Spread& spread) {
  OrderedJson runs = OrderedJson::array();
  for (const double run : spread.runs)
    runs.push_back(OrderedJson(json_number(run)));
  return {{"median", json_number(spread.median())},
          {"min", json_number(spread.low())},
          {"max", json_number(spread.high())},
          {"runs", std::move(runs)}};
}

Spread spread_from_json(const Json& json, const char* key) {
  Spread out;
  for (const double run : lenient::numbers(lenient::member(json, key), "runs"))
    if (std::isfinite(run) && run >= 0 && out.runs.size() < most_runs)
      out.runs.push_back(run);
  return out;
}

std::uint64_t bytes_of(const Json& json, const char* key) {
  return std::uint64_t(std::max<std::int64_t>(0, lenient::integer(json, key)));
}

SpeedPoint point_from_json(const Json& json) {
  SpeedPoint point;
  point.context = lenient::integer(json, "context");
  point.batch = lenient::integer(json, "batch");
  point.new_tokens = lenient::integer(json, "new_tokens");
  point.prompt_rate = spread_from_json(json, "prompt_tokens_per_second");
  point.rate = spread_from_json(json, "tokens_per_second");
  point.first_seconds = spread_from_json(json, "first_token_seconds");
  point.kv_bytes = bytes_of(json, "kv_bytes");
  point.problem = lenient::text(json, "problem");
  return point;
}

} // namespace

OrderedJson speed_result_to_json(const SpeedResult& result) {
  OrderedJson json{{"title", result.title},
                   {"path", result.path},
                   {"bytes", result.bytes},
                   {"disk_bytes", result.disk_bytes},
                   {"kv", {{"k", result.kv_keys}, {"v", result.kv_values}}},
                   {"kv_bytes_per_token", result.kv_bytes_per_token},
                   {"load_seconds", json_number(result.load_seconds)},
                   {"loaded_bytes", result.loaded_bytes},
                   {"steady_bytes", result.steady_bytes},
                   {"peak_bytes", result.peak_bytes},
                   {"points", OrderedJson::array()},
                   {"notes", result.notes}};
  for (const SpeedPoint& point : result.points) {
    OrderedJson entry{
        {"context", point.context}, {"batch", point.batch}, {"new_tokens", point.new_tokens}};
    if (!point.problem.empty()) {
      entry["problem"] = point.problem;
    } else {
      entry["prompt_tokens_per_second"] = spread_to_json(point.prompt_rate);
      entry["tokens_per_second"] = spread_to_json(point.rate);
      entry["first_token_seconds"] = spread_to_json(point.first_seconds);
      entry["kv_bytes"] = point.kv_bytes;
    }
    json["points"].push_back(std::move(entry));
  }
  return json;
}

OrderedJson speed_to_json(const SpeedReport& report) {
  OrderedJson json{{"backend", report.backend},
                   {"threads", report.threads},
                   {"measured", report.measured},
                   {"other_programs", report.others < 0 ? Json() : Json(report.others)},
                   {"models", OrderedJson::array()}};
  for (const SpeedResult& result : report.models)
    json["models"].push_back(speed_result_to_json(result));
  return json;
}

SpeedReport speed_from_json(const Json& json) {
  SpeedReport report;
  report.backend = lenient::text(json, "backend");
  report.threads = int(std::clamp<std::int64_t>(lenient::integer(json, "threads"), 0, 1 << 20));
  report.measured = lenient::text(json, "measured");
  report.others = lenient::number(json, "other_programs", -1);
  for (const Json& model : lenient::list(json, "models")) {
    if (!model.is_object())
      continue;
    SpeedResult result;
    result.title = lenient::text(model, "title");
    result.path = lenient::text(model, "path");
    result.bytes = bytes_of(model, "bytes");
    result.disk_bytes = bytes_of(model, "disk_bytes");
    result.kv_keys = lenient::text(lenient::member(model, "kv"), "k");
    result.kv_values = lenient::text(lenient::member(model, "kv"), "v");
    result.kv_bytes_per_token = bytes_of(model, "kv_bytes_per_token");
    result.load_seconds = lenient::number(model, "load_seconds", 0);
    result.loaded_bytes = bytes_of(model, "loaded_bytes");
    result.steady_bytes = bytes_of(model, "steady_bytes");
    result.peak_bytes = bytes_of(model, "peak_bytes");
    for (const Json& point : lenient::list(model, "points"))
      if (point.is_object())
        result.points.push_back(point_from_json(point));
    result.notes = lenient::texts(model, "notes");
    report.models.push_back(std::move(result));
  }
  return report;
}

} // namespace bitlathe
