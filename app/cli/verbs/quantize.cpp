// SPDX-License-Identifier: GPL-3.0-or-later
// The main job: plan, examine every wanted format, quantize once, export to each.
#include "app/cli/recipe_options.h"
#include "app/cli/steps.h"

#include "core/export/manifest.h"
#include "core/export/memo.h"
#include "core/job/quantize.h"
#include "core/job/result_store.h"
#include "core/recipe/mixes.h"
#include "core/schemes/activations.h"
#include "kernels/cpu/isa.h"

#include <ostream>
#include <unistd.h>

namespace bitlathe {

namespace {

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at <= text.size();) {
    const auto end = std::min(text.find(separator, at), text.size());
    parts.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

Result<std::vector<const Exporter*>>
wanted_exporters(const Invocation& invocation, const std::optional<ManifestSettings>& manifest) {
  std::vector<const Exporter*> exporters;
  const std::string formats = invocation.text(
      "format", manifest && !manifest->format.empty() ? manifest->format : "compressed-tensors");
  if (formats == "none")
    return exporters;
  for (const std::string& id : split(formats, ',')) {
    TRY_ASSIGN(const Exporter* exporter, exporter_by_id(id));
    exporters.push_back(exporter);
  }
  return exporters;
}

/// Of all wanted formats: what they will take, and what was found.
struct Forecast {
  OrderedJson findings = OrderedJson::array(), outputs = OrderedJson::array();
  std::uint64_t export_bytes = 0;
  std::vector<std::string> notes;
};
/// What stops an export ends the job before any work.
Result<Forecast> examine(const Checkpoint& model, const Plan& plan, const ExportOptions& options,
                         const std::vector<const Exporter*>& exporters, bool stop) {
  Forecast out;
  for (const Exporter* exporter : exporters) {
    TRY_ASSIGN(const ExportPrediction predicted, predict_export(model, plan, *exporter, options));
    if (stop)
      TRY(stop_if_blocked(predicted.findings, *exporter, options.runtime, options.accept_warnings));
    for (auto& finding : findings_json(predicted.findings, *exporter))
      out.findings.push_back(std::move(finding));
    for (const Finding& finding : predicted.findings)
      out.notes.push_back(std::string(exporter->id) + ": " + finding_text(finding));
    OrderedJson files = OrderedJson::array();
    for (const auto& file : predicted.files)
      files.push_back({{"name", file.name.string()}, {"bytes", file.bytes}});
    out.outputs.push_back(
        {{"format", exporter->id},
         {"bytes", predicted.bytes},
         {"blocked",
          !blocking_findings(predicted.findings, options.runtime, options.accept_warnings).empty()},
         {"files", std::move(files)}});
    out.export_bytes += predicted.bytes;
  }
  return out;
}

/// What stands against the same bytes as the manifest's.
Result<std::vector<std::string>> differences(const ManifestSettings& manifest,
                                             const Checkpoint& model, const Plan& plan,
                                             Invocation& invocation, ExportMemo& memo) {
  TRY_ASSIGN(auto notes, source_differences(manifest, model, invocation.feedback, &memo));
  std::string others;
  for (const PlannedModule& planned : plan.modules)
    if (const auto it = manifest.modules.find(planned.name);
        it != manifest.modules.end() && it->is_object() &&
        it->value("scheme", "") != planned.scheme.id)
      others += (others.empty() ? "" : ", ") + planned.name;
  if (!others.empty())
    notes.push_back("These modules get another scheme than in the manifest: " + others);
  const auto isa = isa_from_environment();
  if (calibrates(plan) && isa && !manifest.instruction_set.empty() &&
      isa_name(*isa) != manifest.instruction_set)
    notes.push_back("The manifest's weights were made with the instruction set " +
                    manifest.instruction_set + "; with " + std::string(isa_name(*isa)) +
                    " a few codes may differ (BITLATHE_ISA chooses it)");
  if (calibrates(plan) && !manifest.backend.empty()) {
    TRY_ASSIGN(Compute * compute, invocation.compute());
    const std::string backend = compute->device().backend;
    if (manifest.backend.rfind(backend, 0) != 0)
      notes.push_back("The manifest's weights were made on " + manifest.backend + ", and this is " +
                      backend + ": a few codes may differ (--backend chooses it)");
  }
  if (manifest.calibrated && plan.recipe.calibration_files.empty() && !invocation.has("statistics"))
    notes.push_back("The manifest's weights were coded with activation statistics that it does not "
                    "hold: give them with --statistics");
  return notes;
}

/// A folder for the kept result that goes away unless it was moved to its place.
class WorkFolder {
 public:
  explicit WorkFolder(const fs::path& target)
      : path_(target.parent_path() /
              ("." + target.filename().string() + ".bitlathe-work-" + std::to_string(::getpid()))) {
  }
  ~WorkFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

fs::path absolute_folder(const std::string& given) {
  fs::path path = fs::absolute(given).lexically_normal();
  return path.has_filename() ? path : path.parent_path(); // "out/" is "out"
}

/// Problems with the target that should be known before hours of work: in use, or not writable.
Result<void> check_target(const fs::path& target, bool force) {
  std::error_code problem;
  if (fs::exists(target, problem) && !fs::is_directory(target, problem))
    return Error{"bad-argument", "The output is not a folder", target.string()};
  if (!force && fs::is_directory(target, problem) && !fs::is_empty(target, problem))
    return Error{"bad-argument", "The output folder is not empty; use --force to write into it",
                 target.string()};
  fs::create_directories(target.parent_path(), problem);
  if (problem)
    return Error{"io", "Cannot create the output folder: " + problem.message(), target.string()};
  if (::access(target.parent_path().c_str(), W_OK) != 0)
    return Error{"io", "The place for the output is not writable", target.parent_path().string()};
  return {};
}

OrderedJson module_json(const ModuleResult& m) {
  OrderedJson json{{"name", m.name},
                   {"scheme", m.scheme},
                   {"method", m.method},
                   {"reason", m.reason},
                   {"bytes", m.bytes}};
  json["mse"] = json_number(m.mse);
  json["sqnr_db"] = m.quantized ? json_number(m.sqnr_db) : Json(nullptr);
  json["cosine"] = json_number(m.cosine);
  json["max_abs_error"] = json_number(m.max_abs_error);
  if (m.activation_scale != 0)
    json["activation_scale"] = m.activation_scale;
  if (m.outlier_threshold != 0)
    json["outlier_threshold"] = m.outlier_threshold;
  if (m.output_error >= 0)
    json["output_error"] = json_number(m.output_error);
  if (!m.notes.empty())
    json["notes"] = m.notes;
  return json;
}

/// What the job knows of the inputs: statistics, or text that the methods run themselves.
struct Calibration {
  std::optional<ActivationStatistics> statistics;
  CalibrationSet set;
};
Result<Calibration> calibration_for(const Invocation& invocation,
                                    const std::shared_ptr<const Checkpoint>& model,
                                    const Plan& plan, Compute& compute,
                                    std::vector<std::string>& notes) {
  const Recipe& recipe = plan.recipe;
  Calibration out;
  if (calibrates(plan)) {
    if (recipe.calibration_files.empty())
      return Error{"bad-argument",
                   "The plan has methods that calibrate: give them text with --calibration FILE",
                   {}};
    TRY_ASSIGN(out.set, draw_calibration(*model, recipe.calibration_files, recipe.samples,
                                         recipe.length, recipe.calibration_seed));
  } else if (invocation.has("statistics")) {
    TRY_ASSIGN(out.statistics, read_statistics(invocation.text("statistics"), *model, &notes));
    if (!recipe.calibration_files.empty())
      notes.push_back("The statistics are taken from " + invocation.text("statistics") +
                      "; the calibration files are not read");
  } else if (!recipe.calibration_files.empty()) {
    TRY_ASSIGN(Collected collected,
               collect_statistics(model, compute, recipe.calibration_files, recipe.samples,
                                  recipe.length, recipe.calibration_seed, invocation.feedback));
    out.statistics = std::move(collected.statistics);
    out.set = std::move(collected.set);
    out.set.samples.clear();
  }
  notes.insert(notes.end(), out.set.notes.begin(), out.set.notes.end());
  return out;
}

Result<OrderedJson> run(Invocation& invocation) {
  TRY_ASSIGN(const Recipe recipe, recipe_from_options(invocation));
  if (!invocation.has("o") && !invocation.has("dry-run"))
    return usage_error("quantize needs -o DIR (or --dry-run)");
  std::optional<ManifestSettings> manifest; // --recipe may be that of an export
  if (invocation.has("recipe")) {
    TRY_ASSIGN(manifest, read_manifest_settings(invocation.text("recipe")));
  }
  TRY_ASSIGN(const auto exporters, wanted_exporters(invocation, manifest));
  TRY_ASSIGN(const auto model, open_model(invocation.arguments[0]));
  TRY_ASSIGN(Plan plan,
             make_plan(*model, recipe, invocation.has("requantize"), invocation.has("statistics")));
  // Weights that were made for several formats had to fit all of them.
  const bool again = manifest && !invocation.has("format");
  if (again)
    for (const std::string& id : manifest->formats)
      if (const Exporter* exporter = find_exporter(id))
        fit_plan(plan, *model, *exporter);
  for (const Exporter* exporter : exporters)
    fit_plan(plan, *model, *exporter);
  const bool dry = invocation.has("dry-run");
  TRY_ASSIGN(ExportOptions export_options, bitlathe::export_options(invocation));
  export_options.memo = std::make_shared<ExportMemo>();
  export_options.name =
      invocation.text("name", manifest && !manifest->name.empty() ? manifest->name : model->name);
  if (manifest && !invocation.has("shard-size"))
    export_options.shard_limit = manifest->shard_limit;
  if (again)
    export_options.formats = manifest->formats;
  else
    for (const Exporter* exporter : exporters)
      export_options.formats.emplace_back(exporter->id);
  if (find_mix(recipe.default_scheme))
    export_options.label = recipe.default_scheme;
  TRY_ASSIGN(const Forecast forecast, examine(*model, plan, export_options, exporters, !dry));
  if (dry) {
    OrderedJson json = plan_to_json(plan);
    for (const std::string& note : forecast.notes)
      json["notes"].push_back(note);
    json["findings"] = forecast.findings;
    json["outputs"] = forecast.outputs;
    json["export_bytes"] = forecast.export_bytes;
    json["dry_run"] = true;
    return json;
  }
  std::vector<std::string> notes; // without the findings: each export reports its own
  if (manifest) {
    TRY_ASSIGN(notes, differences(*manifest, *model, plan, invocation, *export_options.memo));
  }
  const fs::path target = absolute_folder(invocation.text("o"));
  const bool force = invocation.has("force");
  TRY(check_target(target, force));
  // The kept result and every export are there at once.
  TRY(check_space(target, plan.bytes_after + forecast.export_bytes));
  TRY_ASSIGN(Compute * compute, invocation.compute());
  TRY_ASSIGN(const Calibration calibration,
             calibration_for(invocation, model, plan, *compute, notes));

  const WorkFolder work(target);
  QuantizeOptions options;
  options.result_folder = work.path();
  options.statistics = calibration.statistics ? &*calibration.statistics : nullptr;
  options.samples = &calibration.set.samples;
  TRY_ASSIGN(const QuantizeSummary summary,
             run_quantize(*model, plan, *compute, options, invocation.feedback));
  TRY_ASSIGN(const auto result, open_checkpoint(work.path()));
  notes.insert(notes.end(), summary.notes.begin(), summary.notes.end());

  OrderedJson outputs = OrderedJson::array(), findings = OrderedJson::array();
  std::uint64_t bytes_after = 0;
  fs::path main_output;
  for (const Exporter* exporter : exporters) {
    export_options.folder = exporters.size() == 1 ? target : target / std::string(exporter->id);
    export_options.replace = force;
    invocation.feedback.set_step("export: " + std::string(exporter->id));
    TRY_ASSIGN(const ExportOutcome outcome,
               run_export(*result, *exporter, export_options, invocation.feedback));
    outputs.push_back({{"format", exporter->id},
                       {"path", outcome.path.string()},
                       {"bytes", outcome.bytes},
                       {"manifest", outcome.manifest.string()},
                       {"verification", verification_json(outcome)}});
    for (auto& finding : findings_json(outcome.findings, *exporter))
      findings.push_back(std::move(finding));
    notes.insert(notes.end(), outcome.notes.begin(), outcome.notes.end());
    if (main_output.empty()) {
      main_output = outcome.path;
      bytes_after = outcome.bytes;
    }
  }
  OrderedJson json;
  const bool keep = exporters.empty() || !invocation.has("no-keep");
  if (keep) {
    const fs::path kept = target / ".bitlathe";
    std::error_code problem;
    fs::create_directories(target, problem);
    fs::remove_all(kept, problem);
    fs::rename(work.path(), kept, problem);
    if (problem)
      return Error{"io", "Cannot keep the result: " + problem.message(), kept.string()};
    TRY_ASSIGN(const KeptResult info, read_result(kept));
    json["result"] = {{"path", kept.string()}, {"bytes", info.bytes}};
    if (exporters.empty()) { // the result is a checkpoint itself
      main_output = kept;
      bytes_after = info.bytes;
    }
  }
  json["output"] = main_output.string();
  json["outputs"] = outputs;
  json["findings"] = findings;
  json["verification"] = outputs.empty() ? OrderedJson() : outputs.front()["verification"];
  json["format"] = exporters.empty() ? "none" : exporters.front()->id;
  json["bytes_before"] = summary.bytes_before;
  json["bytes_after"] = summary.bytes_after;
  json["export_bytes"] = bytes_after;
  json["bits_per_weight"] = summary.bits_per_weight;
  json["bits_per_quantized_weight"] = summary.bits_per_quantized_weight;
  json["seconds"] = summary.seconds;
  json["peak_rss_bytes"] = peak_rss_bytes();
  json["peak_mapped_bytes"] = peak_mapped_bytes();
  json["backend"] = summary.backend;
  if (calibration.set.coverage.windows > 0)
    json["calibration"] = coverage_to_json(calibration.set);
  json["modules"] = OrderedJson::array();
  for (const ModuleResult& module : summary.modules)
    json["modules"].push_back(module_json(module));
  json["notes"] = notes;
  return json;
}

void show(const OrderedJson& json, std::ostream& out) {
  const bool dry = json.contains("dry_run");
  TextTable table(
      dry ? std::vector<std::string>{"MODULE", "SCHEME", "METHOD", "SIZE", "REASON"}
          : std::vector<std::string>{"MODULE", "SCHEME", "METHOD", "SIZE", "SQNR dB", "REASON"});
  for (const auto& m : json["modules"]) {
    std::vector<std::string> row{m["name"].get<std::string>(), m["scheme"].get<std::string>(),
                                 m["method"].get<std::string>(),
                                 show_bytes(m["bytes"].get<std::uint64_t>())};
    if (!dry)
      row.push_back(m["sqnr_db"].is_number() ? show_number(m["sqnr_db"].get<double>()) : "-");
    row.push_back(m["reason"].get<std::string>());
    table.add(row);
  }
  table.print(out);
  for (const auto& note : json["notes"])
    out << "note: " << note.get<std::string>() << '\n';
  out << '\n'
      << show_bytes(json["bytes_before"].get<std::uint64_t>()) << " -> "
      << show_bytes(json["bytes_after"].get<std::uint64_t>()) << ", "
      << show_number(json["bits_per_weight"].get<double>()) << " bits per weight ("
      << show_number(json["bits_per_quantized_weight"].get<double>())
      << " in the quantized modules)\n";
  if (dry) {
    for (const auto& output : json["outputs"]) {
      out << output["format"].get<std::string>() << ": "
          << (output["blocked"].get<bool>() ? "would not be written" : "");
      if (!output["files"].empty())
        out << (output["blocked"].get<bool>() ? ", " : "") << output["bytes"] << " bytes";
      out << '\n';
      for (const auto& file : output["files"])
        out << "  " << file["name"].get<std::string>() << "  "
            << show_bytes(file["bytes"].get<std::uint64_t>()) << '\n';
    }
    return;
  }
  if (json.contains("calibration"))
    show_coverage(json["calibration"], out);
  out << show_number(json["seconds"].get<double>(), 3) << " s on "
      << json["backend"].get<std::string>() << ", peak memory "
      << show_bytes(json["peak_rss_bytes"].get<std::uint64_t>()) << '\n';
  for (const auto& output : json["outputs"])
    out << output["format"].get<std::string>() << ": " << output["path"].get<std::string>() << " ("
        << show_bytes(output["bytes"].get<std::uint64_t>()) << ")\n";
}

const std::string activations_help =
    "auto (default: what goes with the method), " + known_activation_schemes() + ".";
const std::string kv_help = "KV cache schemes recorded with the result: " + known_kv() + ".";

const VerbOption options[] = {
    {"o", "DIR", "Folder to write into."},
    {"recipe", "FILE",
     "Recipe, or the manifest of an export, to make it again; the options below go on top of it."},
    {"scheme", "S", "Default scheme, such as int4-g128-asym, q4_k, or a mix (Q4_K_M)."},
    {"method", "M", "Default method: rtn, mse, gptq, awq, ... (see the recipes in docs)."},
    {"exclude", "PATTERN", "Modules to leave as they are.", true},
    {"set", "PATTERN=SCHEME[:METHOD]", "A rule for the modules that match.", true},
    {"activations", "A", activations_help},
    {"kv", "K[,V]", kv_help},
    {"param", "METHOD.KEY=VALUE", "A parameter of a method.", true},
    {"observer", "NAME", "How rtn chooses ranges: minmax, ema, percentile, entropy, mse."},
    {"activation-observer", "NAME", "How ranges of static activations are chosen: the same names."},
    {"calibration", calibration_value,
     "Text, or .jsonl of documents or chats; PART: calibration, selection or evaluation.", true},
    {"calibration-seed", "N", "Which windows are drawn (default 0)."},
    {"samples", "N", "Calibration windows (default 128)."},
    {"length", "N", "Tokens per calibration window (default 256)."},
    {"calibration-inputs", "I",
     "What a block's methods see: quantized (default), what the coded blocks before it make of "
     "the text, or original."},
    {"statistics", "STATS", "Statistics from `calibrate`, or an importance matrix."},
    {"format", "F[,F...]",
     "Export formats (default compressed-tensors); none keeps the result in DIR/.bitlathe, which "
     "every verb opens."},
    {"name", "NAME", "Name of the exported model."},
    shard_size_option,
    for_option(),
    accept_warnings_option,
    {"dry-run", "", "Print the plan, the findings and the sizes of all files, and stop."},
    {"force", "", "Write into a folder that is not empty."},
    {"requantize", "", "Quantize an already quantized source."},
    {"no-keep", "", "Do not keep the canonical result in DIR/.bitlathe."},
    {"resume", "", "Go on with an interrupted run.", false, true},
};

} // namespace

extern const Verb verb_quantize;
const Verb verb_quantize{
    "quantize", "MODEL -o DIR", "Quantizes and exports a model.", 1, 1, options, run, show};

} // namespace bitlathe
