// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/steps.h"

#include "core/job/memory.h"
#include "core/job/result_store.h"
#include "core/recipe/mixes.h"

#include <chrono>
#include <ostream>

namespace bitlathe {

namespace {

OrderedJson forecast(const ExportPrediction& predicted, const Exporter& exporter,
                     const ExportOptions& options) {
  OrderedJson files = OrderedJson::array(), notes = OrderedJson::array();
  for (const auto& file : predicted.files)
    files.push_back({{"name", file.name.string()}, {"bytes", file.bytes}});
  for (const Finding& finding : predicted.findings)
    notes.push_back(std::string(level_name(finding.level)) + ": " + finding_text(finding));
  return {
      {"format", exporter.id},
      {"dry_run", true},
      {"export_bytes", predicted.bytes},
      {"blocked",
       !blocking_findings(predicted.findings, options.runtime, options.accept_warnings).empty()},
      {"files", std::move(files)},
      {"findings", findings_json(predicted.findings, exporter)},
      {"notes", std::move(notes)}};
}

Result<OrderedJson> run(Invocation& invocation) {
  if (!invocation.has("format") || !(invocation.has("o") || invocation.has("dry-run")))
    return usage_error("export needs --format F and -o DIR (or --dry-run)");
  TRY_ASSIGN(const Exporter* exporter, exporter_by_id(invocation.text("format")));
  // The folder that `quantize` wrote holds its kept result.
  const fs::path given = invocation.arguments[0], kept = given / ".bitlathe";
  const fs::path source = fs::exists(kept / "result.json") ? kept : given;
  TRY_ASSIGN(const auto model, open_model(source.string()));
  const auto start = std::chrono::steady_clock::now();
  TRY_ASSIGN(ExportOptions options, export_options(invocation));
  options.folder = invocation.text("o");
  options.name = invocation.text("name", model->name);
  options.replace = invocation.has("force");
  if (const auto result = read_result(source); result && find_mix(result->recipe.default_scheme))
    options.label = result->recipe.default_scheme;
  if (invocation.has("dry-run")) {
    TRY_ASSIGN(const ExportPrediction predicted, predict_export(*model, *exporter, options));
    return forecast(predicted, *exporter, options);
  }
  TRY_ASSIGN(const ExportOutcome outcome,
             run_export(*model, *exporter, options, invocation.feedback));

  OrderedJson json;
  json["output"] = outcome.path.string();
  json["format"] = exporter->id;
  OrderedJson modules = OrderedJson::array();
  std::uint64_t bytes_before = 0, bytes_after = model->bytes(), quantized_bytes = 0;
  std::int64_t quantized_parameters = 0;
  if (auto result = read_result(source)) { // figures of the run that made it
    bytes_before = result->summary.bytes_before;
    for (const ModuleResult& m : result->summary.modules)
      modules.push_back({{"name", m.name},
                         {"scheme", m.scheme},
                         {"method", m.method},
                         {"reason", m.reason},
                         {"bytes", m.bytes},
                         {"mse", json_number(m.mse)},
                         {"sqnr_db", m.quantized ? json_number(m.sqnr_db) : Json(nullptr)},
                         {"cosine", json_number(m.cosine)}});
  } else {
    bytes_before = model->bytes();
    for (const Module& m : model->modules)
      modules.push_back({{"name", m.name}, {"scheme", m.weight.scheme.id}, {"bytes", m.bytes()}});
  }
  for (const Module& m : model->modules)
    if (m.weight.scheme.quantized && !m.tied_to_embedding) {
      quantized_bytes += m.weight.bytes();
      quantized_parameters += m.weight.rows * m.weight.cols;
    }
  json["bytes_before"] = bytes_before;
  json["bytes_after"] = bytes_after;
  json["export_bytes"] = outcome.bytes;
  json["bits_per_weight"] =
      model->parameters() ? 8.0 * double(bytes_after) / double(model->parameters()) : 0.0;
  json["bits_per_quantized_weight"] =
      quantized_parameters ? 8.0 * double(quantized_bytes) / double(quantized_parameters) : 0.0;
  json["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  json["peak_rss_bytes"] = peak_rss_bytes();
  json["peak_mapped_bytes"] = peak_mapped_bytes();
  json["backend"] = "cpu";
  json["modules"] = modules;
  json["manifest"] = outcome.manifest.string();
  json["findings"] = findings_json(outcome.findings, *exporter);
  json["verification"] = verification_json(outcome);
  json["notes"] = outcome.notes;
  return json;
}

void show(const OrderedJson& json, std::ostream& out) {
  for (const auto& note : json["notes"])
    out << "note: " << note.get<std::string>() << '\n';
  if (json.contains("dry_run")) {
    for (const auto& file : json["files"])
      out << file["name"].get<std::string>() << "  "
          << show_bytes(file["bytes"].get<std::uint64_t>()) << '\n';
    out << json["format"].get<std::string>() << ": " << json["export_bytes"] << " bytes"
        << (json["blocked"].get<bool>() ? "; would not be written" : "") << '\n';
    return;
  }
  for (const auto& check : json["verification"]["checks"])
    out << (check["ok"].get<bool>() ? "ok    " : "FAIL  ") << check["name"].get<std::string>()
        << "  " << check["detail"].get<std::string>() << '\n';
  out << json["format"].get<std::string>() << ": " << json["output"].get<std::string>() << " ("
      << show_bytes(json["export_bytes"].get<std::uint64_t>()) << "), re-opened and compared\n";
}

const std::string format_help = [] {
  std::string known;
  for (const Exporter* exporter : all_exporters())
    known += (known.empty() ? "" : ", ") + std::string(exporter->id);
  return known + ".";
}();

const VerbOption options[] = {
    {"format", "F", format_help},
    {"o", "DIR", "Folder to write into."},
    {"name", "NAME", "Name of the exported model."},
    shard_size_option,
    for_option(),
    accept_warnings_option,
    {"dry-run", "", "Print the findings and the sizes of all files, and stop."},
    {"force", "", "Write into a folder that is not empty."},
};

} // namespace

extern const Verb verb_export;
const Verb verb_export{"export",
                       "RESULT --format F -o DIR",
                       "Another format from a kept result or a checkpoint.",
                       1,
                       1,
                       options,
                       run,
                       show};

} // namespace bitlathe
