// SPDX-License-Identifier: Apache-2.0
// The way of every export: examine, write into a staging folder, re-open, compare, move into place.
#include "core/export/compare.h"
#include "core/export/doctor.h"
#include "core/export/logits.h"
#include "core/export/manifest.h"
#include "core/export/rules.h"
#include "core/export/tensors.h"
#include "core/io/sha256.h"
#include "core/recipe/mixes.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>

namespace bitlathe {

namespace {

/// A mix, "int4-g128-asym" when all quantized modules share one scheme, "mixed", or the float type.
std::string scheme_label(const Checkpoint& model) {
  if (const Mix* mix = mix_of(model))
    return std::string(mix->id);
  std::set<std::string> quantized, plain;
  for (const auto& module : model.modules) {
    if (module.tied_to_embedding)
      continue;
    if (module.weight.scheme.quantized)
      quantized.insert(module.weight.scheme.id);
    else if (module.linear)
      plain.insert(module.weight.scheme.id);
  }
  const auto& use = quantized.empty() ? plain : quantized;
  return use.size() == 1 ? *use.begin() : "mixed";
}

/// What a file name may hold everywhere.
std::string file_name(const std::string& name) {
  std::string out;
  for (const char c : name)
    out += c == '/' || c == '\\' || c == ':' || (c >= 0 && c < 32) ? '_' : c;
  return out.empty() || out[0] == '.' ? "model" + out : out;
}

/// Errors name the place people asked for, not the staging folder, which is gone by then.
Error at_target(Error error, const OutputFolder& folder) {
  const auto staging = folder.staging().string();
  if (error.where.rfind(staging, 0) == 0)
    error.where = folder.target().string() + error.where.substr(staging.size());
  return error;
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", value);
  return text;
}

/// What does not hold in the staged files, as an error at the target.
Result<void> all_hold(const std::vector<VerifyCheck>& checks, const OutputFolder& folder) {
  for (const VerifyCheck& check : checks)
    if (!check.ok)
      return Error{"mismatch",
                   "The export is not what was to be written, so it was not kept: " + check.name +
                       ": " + check.detail,
                   folder.target().string()};
  return {};
}

/// Which values a float type of the export has rounded: decoded ones that stand for codes, or
/// offsets that stand for zero points. Empty when there are none.
std::string rounded_values(const Checkpoint& model, const Checkpoint& written) {
  for (const Module& module : model.modules) {
    const Module* other = written.find_module(module.name);
    const Scheme &from = module.weight.scheme, to = other ? other->weight.scheme : from;
    if (from.quantized && !to.quantized)
      return "decoded values";
    if (from.family && to.family && from.family->id == "int" && to.family->id == "affine")
      return "offsets";
  }
  return {};
}

Result<VerifyCheck> check_logits(const Checkpoint& model, const Checkpoint& written,
                                 std::int64_t tokens, Feedback& feedback, ExportMemo* memo) {
  feedback.set_step("Running the export and what it was made from");
  TRY_ASSIGN(const auto compute, make_cpu_compute());
  TRY_ASSIGN(const LogitComparison found,
             compare_logits(model, written, *compute, tokens, feedback, memo));
  if (!found.skipped.empty())
    return VerifyCheck{"logits", true, "not compared: " + found.skipped};
  const std::string rounded = rounded_values(model, written);
  return VerifyCheck{"logits", found.finite && (!rounded.empty() || found.worst <= logit_tolerance),
                     "over " + std::to_string(found.tokens) + " tokens at most " +
                         number(found.worst) + " of the largest logit apart, the likeliest token " +
                         "the same at " + std::to_string(found.same_top) +
                         (rounded.empty() ? "" : "; " + rounded + " were rounded to a float type") +
                         (found.within_windows ? "; the export does not hold the model's windows, "
                                                 "so only what they reach was compared"
                                               : "") +
                         (found.finite ? "" : "; not all are finite numbers")};
}

/// What was written, compared with what was to be written.
Result<std::vector<VerifyCheck>> read_back(const Checkpoint& model, const Exporter& exporter,
                                           const fs::path& staged, const OutputFolder& folder,
                                           const ExportOptions& options, Feedback& feedback) {
  auto checks = loader_rules(staged, &exporter);
  TRY(all_hold(checks, folder));
  if (exporter.verify) {
    TRY_ASSIGN(const auto report, exporter.verify(staged, &model, feedback));
    TRY(all_hold(report.checks, folder));
    checks.insert(checks.end(), report.checks.begin(), report.checks.end());
    return checks;
  }
  const auto reopened = open_checkpoint(staged);
  if (!reopened)
    return Error{"mismatch",
                 "The export cannot be read back, so it was not kept: " + reopened.error().message,
                 reopened.error().where};
  TRY(compare_checkpoints(model, **reopened, feedback));
  checks.push_back({"tensors", true,
                    "read back, " + std::to_string((*reopened)->modules.size()) +
                        " modules hold the codes, scales and values that were to be written"});
  if (options.logit_tokens > 0) {
    TRY_ASSIGN(const VerifyCheck logits,
               check_logits(model, **reopened, options.logit_tokens, feedback, options.memo.get()));
    TRY(all_hold({logits}, folder));
    checks.push_back(logits);
  }
  return checks;
}

} // namespace

ExportInput export_input(const Checkpoint& model, const ExportOptions& options) {
  ExportInput input{model, file_name(options.name.empty() ? model.name : options.name),
                    options.label.empty() ? scheme_label(model) : options.label};
  if (options.shard_limit > 0) {
    input.shard_limit = options.shard_limit;
    input.split = true;
  }
  return input;
}

const Exporter* find_exporter(std::string_view id) {
  for (const Exporter* exporter : all_exporters())
    if (exporter->id == id)
      return exporter;
  return nullptr;
}

std::vector<ExportModule> export_modules(const Checkpoint& checkpoint, const Plan& plan) {
  std::vector<ExportModule> out;
  for (std::size_t i = 0; i < checkpoint.modules.size() && i < plan.modules.size(); ++i)
    out.push_back({&checkpoint.modules[i], plan.modules[i].scheme, plan.modules[i].activations,
                   plan.modules[i].reordered});
  return out;
}

std::vector<ExportModule> export_modules(const Checkpoint& quantized) {
  std::vector<ExportModule> out;
  for (const auto& module : quantized.modules)
    out.push_back(
        {&module, module.weight.scheme, module.activations, module.weight.column_order != nullptr});
  return out;
}

void fit_plan(Plan& plan, const Checkpoint& checkpoint, const Exporter& exporter) {
  if (!exporter.fallback)
    return;
  std::uint64_t quantized_bytes = 0;
  std::map<std::string, std::vector<std::string>> changed; ///< modules by what happened to them
  plan.quantized_parameters = 0;
  for (std::size_t i = 0; i < checkpoint.modules.size() && i < plan.modules.size(); ++i) {
    PlannedModule& planned = plan.modules[i];
    const Module& module = checkpoint.modules[i];
    const bool open = !module.tied_to_embedding && planned.scheme.family;
    const auto instead = open ? exporter.fallback(planned.scheme, module) : Exporter::Fallback();
    const auto scheme = parse_scheme(instead.scheme);
    if (!instead.scheme.empty() && scheme) {
      changed[instead.scheme + " instead of " + planned.scheme.id + ": " + instead.reason]
          .push_back(module.name);
      planned.scheme = *scheme;
      planned.reason = "fallback: " + instead.reason;
      planned.reason_kind = "fallback";
      if (!scheme->quantized) {
        planned.quantize = false;
        planned.convert = !(*scheme == module.weight.scheme);
        planned.method.clear();
        planned.params = Json::object();
        planned.activations = "none";
      }
      plan.bytes_after -= planned.bytes_after;
      planned.bytes_after =
          scheme->family->bytes(*scheme, planned.rows, planned.cols).total() + module.bias.bytes();
      plan.bytes_after += planned.bytes_after;
    }
    if (open && planned.scheme.quantized) {
      plan.quantized_parameters += planned.rows * planned.cols;
      quantized_bytes += planned.bytes_after - module.bias.bytes();
    }
  }
  for (const auto& [what, modules] : changed)
    plan.notes.push_back(what + " (" + std::to_string(modules.size()) +
                         " modules: " + name_list(modules) + ")");
  if (plan.parameters > 0)
    plan.bits_per_weight = 8.0 * double(plan.bytes_after) / double(plan.parameters);
  plan.bits_per_quantized_weight =
      plan.quantized_parameters > 0
          ? 8.0 * double(quantized_bytes) / double(plan.quantized_parameters)
          : 0;
}

Result<ExportOutcome> run_export(const Checkpoint& model, const Exporter& exporter,
                                 const ExportOptions& options, Feedback& feedback) {
  ExportOutcome outcome;
  outcome.findings = export_findings(model, export_modules(model), exporter, options);
  TRY(stop_if_blocked(outcome.findings, exporter, options.runtime, options.accept_warnings));
  for (const Finding& finding : outcome.findings)
    outcome.notes.push_back(finding_text(finding));

  TRY_ASSIGN(const ExportFiles described, exporter.files(export_input(model, options)));
  for (const FileToWrite& file : described.files)
    outcome.bytes += file.bytes;
  TRY(check_space(options.folder, outcome.bytes));

  TRY_ASSIGN(const auto folder, OutputFolder::create(options.folder, options.replace));
  feedback.done = 0;
  feedback.total = outcome.bytes + model.bytes(); // written, then compared
  feedback.set_step("Writing " + std::string(exporter.id));
  std::vector<std::string> hashes;
  if (const auto result = write_files(folder->staging(), described.files, &feedback, hashes);
      !result)
    return at_target(result.error(), *folder);
  if (feedback.stopped())
    return cancelled_error();
  TRY_ASSIGN(const OrderedJson manifest,
             export_manifest(model, exporter, options, described, hashes, feedback));
  const auto manifest_file = manifest_name(described);
  if (const auto result = write_file(folder->staging() / manifest_file, manifest.dump(1) + "\n");
      !result)
    return at_target(result.error(), *folder);

  feedback.set_step("Reading " + std::string(exporter.id) + " back");
  const bool whole_folder = described.checkpoint == ".";
  const auto staged = folder->staging() / (whole_folder ? fs::path() : described.checkpoint);
  auto checks = read_back(model, exporter, staged, *folder, options, feedback);
  if (!checks)
    return at_target(checks.error(), *folder);
  outcome.checks = std::move(*checks);
  if (feedback.stopped())
    return cancelled_error();
  TRY(folder->commit());
  outcome.path = whole_folder ? folder->target() : folder->target() / described.checkpoint;
  outcome.manifest = folder->target() / manifest_file;
  return outcome;
}

} // namespace bitlathe
