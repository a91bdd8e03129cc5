// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/steps.h"

#include "core/engine/kv_memory.h"

namespace bitlathe {

Result<const Exporter*> exporter_by_id(const std::string& id) {
  if (const Exporter* exporter = find_exporter(id))
    return exporter;
  std::string known;
  for (const Exporter* e : all_exporters())
    known += (known.empty() ? "" : ", ") + std::string(e->id);
  return Error{"bad-argument", "Unknown format \"" + id + "\"; known: " + known, {}};
}

std::string known_kv() {
  std::string out;
  for (const std::string_view id : kv_layout_ids())
    out += (out.empty() ? "" : ", ") + std::string(id);
  return out;
}

Result<EngineOptions> engine_options(const Invocation& invocation) {
  EngineOptions options;
  if (invocation.has("kv")) {
    TRY_ASSIGN(options.kv, parse_kv(invocation.text("kv")));
  }
  options.activations = invocation.text("activations");
  return options;
}

void add_activity(const Engine& engine, const EngineOptions& options, OrderedJson& json) {
  const EngineActivity activity = engine.activity();
  json["kv"] = kv_memory_json(engine.spec(), kv_scheme_of(engine.checkpoint(), options));
  json["activity"] = OrderedJson::array();
  for (const ModuleActivity& module : activity.modules) {
    const ActivationCounts& counts = module.counts;
    OrderedJson entry{{"name", module.module},
                      {"activations", module.activations},
                      {"tokens", counts.tokens},
                      {"absmax", json_number(double(counts.absmax))}};
    if (counts.columns > 0)
      entry["outlier_share"] = module.outlier_share();
    for (const auto& [key, value] : {std::pair{"clipped", counts.clipped},
                                     {"f16_overflow", counts.f16_overflow},
                                     {"zero_tokens", counts.zero_tokens},
                                     {"nan", counts.nan},
                                     {"inf", counts.inf}})
      if (value > 0)
        entry[key] = value;
    json["activity"].push_back(std::move(entry));
  }
}

std::vector<CalibrationFile> calibration_files(const Invocation& invocation) {
  std::vector<CalibrationFile> files;
  for (const std::string& path : invocation.list("calibration"))
    files.push_back({path, 1.0});
  return files;
}

Result<ActivationStatistics> collect_statistics(const std::shared_ptr<const Checkpoint>& model,
                                                Compute& compute,
                                                const std::vector<CalibrationFile>& files,
                                                std::int64_t samples, std::int64_t length,
                                                std::int64_t seed, Feedback& feedback) {
  TRY_ASSIGN(const auto windows, calibration_samples(*model, files, samples, length, seed));
  TRY_ASSIGN(ActivationStatistics statistics, calibrate(model, compute, windows, feedback));
  for (const CalibrationFile& file : files)
    statistics.sources.push_back(file.path);
  return statistics;
}

} // namespace bitlathe
