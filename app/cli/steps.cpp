// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/steps.h"

#include "core/engine/kv_memory.h"
#include "core/engine/residency.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <ostream>

namespace bitlathe {

Result<const Exporter*> exporter_by_id(const std::string& id) {
  if (const Exporter* exporter = find_exporter(id))
    return exporter;
  std::string known;
  for (const Exporter* e : all_exporters())
    known += (known.empty() ? "" : ", ") + std::string(e->id);
  return Error{"bad-argument", "Unknown format \"" + id + "\"; known: " + known, {}};
}

VerbOption for_option() {
  static const std::string help = [] {
    std::string known;
    for (const std::string& runtime : known_runtimes())
      known += (known.empty() ? "" : ", ") + runtime;
    return "Hold it against what one runtime reads: " + known + ".";
  }();
  return {"for", "RUNTIME", help};
}

Result<std::uint64_t> parse_size(const std::string& text) {
  const char* begin = text.c_str();
  char* end = nullptr;
  const double value = std::strtod(begin, &end);
  std::string unit(end);
  while (!unit.empty() && unit.front() == ' ')
    unit.erase(0, 1);
  for (char& c : unit)
    c = char(std::toupper(static_cast<unsigned char>(c)));
  int power = 0;
  double base = 1024;
  if (!unit.empty() && unit != "B") {
    const auto at = std::string_view("KMGT").find(unit[0]);
    const auto rest = unit.substr(1);
    if (at == std::string_view::npos || (!rest.empty() && rest != "B" && rest != "IB"))
      power = -1;
    else
      power = int(at) + 1;
    if (rest == "B")
      base = 1000;
  }
  const double bytes = value * std::pow(base, std::max(power, 0));
  if (end == begin || power < 0 || !(bytes >= 1) || bytes > 9e18)
    return usage_error("\"" + text + "\" is no size; sizes are written as 4500000, 500M or 5GB");
  return std::uint64_t(bytes);
}

Result<ExportOptions> export_options(const Invocation& invocation) {
  ExportOptions options;
  options.accept_warnings = invocation.has("accept-warnings");
  options.runtime = invocation.text("for");
  const auto known = known_runtimes();
  if (!options.runtime.empty() &&
      std::find(known.begin(), known.end(), options.runtime) == known.end())
    return usage_error("--for does not know \"" + options.runtime + "\". " +
                       std::string(for_option().summary));
  if (invocation.has("shard-size")) {
    TRY_ASSIGN(options.shard_limit, parse_size(invocation.text("shard-size")));
  }
  return options;
}

OrderedJson findings_json(const std::vector<Finding>& findings, const Exporter& exporter) {
  OrderedJson out = OrderedJson::array();
  for (const Finding& finding : findings)
    out.push_back({{"format", exporter.id},
                   {"level", level_name(finding.level)},
                   {"module", finding.module},
                   {"message", finding.message},
                   {"runtime", finding.runtime}});
  return out;
}

OrderedJson verification_json(const ExportOutcome& outcome) {
  OrderedJson checks = OrderedJson::array();
  for (const VerifyCheck& check : outcome.checks)
    checks.push_back({{"name", check.name}, {"ok", check.ok}, {"detail", check.detail}});
  return {{"checks", std::move(checks)}};
}

std::string known_kv() {
  std::string out;
  for (const std::string_view id : kv_layout_ids())
    out += (out.empty() ? "" : ", ") + std::string(id);
  return out;
}

Result<EngineOptions> engine_options(const Invocation& invocation, const Compute& compute) {
  EngineOptions options;
  if (invocation.has("kv")) {
    TRY_ASSIGN(options.kv, parse_kv(invocation.text("kv")));
  }
  options.activations = invocation.text("activations");
  if (invocation.has("memory-cap")) {
    TRY_ASSIGN(const std::uint64_t cap, parse_size(invocation.text("memory-cap")));
    options.residency = std::make_shared<Residency>(cap);
  } else {
    options.residency = default_residency(compute);
  }
  return options;
}

void add_residency(const EngineOptions& options, OrderedJson& json) {
  const Residency* memory = options.residency.get();
  if (!memory)
    return;
  json["weight_budget"] = memory->budget();
  json["peak_weight_bytes"] = memory->most_bytes();
  json["block_loads"] = memory->loads();
  if (memory->exceeded())
    json["notes"].push_back("The largest part that is loaded at once takes " +
                            std::to_string(memory->most_bytes()) +
                            " bytes, which is more than the memory cap");
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

Result<std::vector<CalibrationFile>> calibration_files(const Invocation& invocation,
                                                       std::string_view option) {
  std::vector<CalibrationFile> files;
  for (const std::string& text : invocation.list(option)) {
    auto file = parse_calibration_file(text);
    if (!file)
      return usage_error("--" + std::string(option) + " " + text + ": " + file.error().message);
    files.push_back(std::move(*file));
  }
  return files;
}

Result<Collected> collect_statistics(const std::shared_ptr<const Checkpoint>& model,
                                     Compute& compute, const std::vector<CalibrationFile>& files,
                                     std::int64_t samples, std::int64_t length, std::int64_t seed,
                                     Feedback& feedback) {
  Collected out;
  TRY_ASSIGN(out.set, draw_calibration(*model, files, samples, length, seed));
  TRY_ASSIGN(out.statistics, calibrate(model, compute, out.set.samples, feedback));
  for (const CalibrationSource& source : out.set.record.sources)
    out.statistics.sources.push_back(source.path);
  out.statistics.record = out.set.record;
  return out;
}

void show_coverage(const OrderedJson& coverage, std::ostream& out) {
  const auto line = [&](const OrderedJson& entry, const std::string& name) {
    out << name << ": " << entry["tokens_used"] << " of " << entry["tokens_available"]
        << " tokens in " << entry["windows"] << " windows, " << entry["documents"]
        << (entry["documents"] == 1 ? " document, " : " documents, ")
        << show_number(100 * entry["vocabulary_share"].get<double>(), 3) << " % of the vocabulary ("
        << entry["vocabulary_seen"] << " of " << coverage["vocabulary"] << " tokens)\n";
  };
  for (const auto& file : coverage["files"])
    line(file, file["path"].get<std::string>() +
                   (file.contains("split") ? ", " + file["split"].get<std::string>() : ""));
  if (coverage["files"].size() > 1)
    line(coverage, "together");
}

} // namespace bitlathe
