// SPDX-License-Identifier: Apache-2.0
#include "core/export/doctor.h"

#include "core/export/phantom.h"
#include "core/export/tensors.h"
#include "core/io/posix.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <sys/statvfs.h>

namespace bitlathe {

namespace {

using Level = Finding::Level;

/// The folder, or the nearest one above it that exists.
fs::path existing_part(const fs::path& folder) {
  std::error_code failed;
  auto path = fs::absolute(folder, failed);
  while (!fs::exists(path, failed) && path.has_parent_path() && path.parent_path() != path)
    path = path.parent_path();
  return path;
}

/// What an ordinary user may still write; nullopt when the system does not say.
std::optional<std::uint64_t> free_space(const fs::path& folder) {
  struct statvfs info {};
  int result = 0;
  do
    result = statvfs(existing_part(folder).c_str(), &info);
  while (result != 0 && errno == EINTR);
  // Some file systems report no sizes at all.
  if (result != 0 || info.f_blocks == 0)
    return std::nullopt;
  return std::uint64_t(info.f_bavail) * info.f_frsize;
}

std::string readable(std::uint64_t bytes) {
  char text[64];
  if (bytes < 10'000'000)
    std::snprintf(text, sizeof text, "%llu bytes", static_cast<unsigned long long>(bytes));
  else
    std::snprintf(text, sizeof text, "%.2f GB", double(bytes) / 1e9);
  return text;
}

std::string no_space(std::uint64_t needed, std::uint64_t available) {
  return "The export takes " + readable(needed) + ", and only " + readable(available) +
         " are free there";
}

Result<ExportPrediction> predict(const Checkpoint& model, std::vector<Finding> findings,
                                 const Exporter& exporter, const ExportOptions& options) {
  ExportPrediction out;
  out.findings = std::move(findings);
  if (!options.folder.empty())
    out.free_bytes = free_space(options.folder);
  // What the format cannot hold has no size in it.
  const bool refused =
      std::any_of(out.findings.begin(), out.findings.end(), [](const Finding& finding) {
        return finding.level == Level::refuse && finding.runtime.empty();
      });
  if (refused)
    return out;
  TRY_ASSIGN(const ExportFiles described, exporter.files(export_input(model, options)));
  for (const FileToWrite& file : described.files) {
    out.files.push_back({file.name, file.bytes});
    out.bytes += file.bytes;
  }
  if (out.free_bytes && *out.free_bytes < out.bytes)
    out.findings.push_back({Level::refuse, {}, no_space(out.bytes, *out.free_bytes)});
  return out;
}

/// Messages, each once, with the modules that they are about.
std::string listed(const std::vector<Finding>& findings, Level level) {
  std::vector<std::string> modules, reasons;
  for (const Finding& finding : findings) {
    if (finding.level != level)
      continue;
    if (!finding.module.empty())
      modules.push_back(finding.module);
    if (std::find(reasons.begin(), reasons.end(), finding.message) == reasons.end())
      reasons.push_back(finding.message);
  }
  return name_list(reasons, 3) + (modules.empty() ? "" : " [" + name_list(modules, 8) + "]");
}

} // namespace

std::vector<Finding> export_findings(const Checkpoint& model,
                                     const std::vector<ExportModule>& modules,
                                     const Exporter& exporter, const ExportOptions& options) {
  auto findings = exporter.examine(model, modules);
  const auto embedding =
      std::find_if(modules.begin(), modules.end(),
                   [](const ExportModule& module) { return module.source->part == "embedding"; });
  const bool tied = std::any_of(modules.begin(), modules.end(), [](const ExportModule& module) {
    return module.source->tied_to_embedding;
  });
  if (tied && embedding != modules.end() && embedding->scheme.quantized)
    findings.push_back({Level::note, embedding->source->name,
                        "The head is tied to the embedding, so it has the precision of " +
                            embedding->scheme.id + " too"});
  const auto reads = [&](const UseWith& use) { return use.runtime == options.runtime; };
  if (!options.runtime.empty() && !exporter.uses.empty() &&
      std::none_of(exporter.uses.begin(), exporter.uses.end(), reads))
    findings.push_back({Level::warning,
                        {},
                        options.runtime + " is not known to read this format; it is read by " +
                            std::string(exporter.loaders),
                        options.runtime});
  return findings;
}

Result<ExportPrediction> predict_export(const Checkpoint& model, const Plan& plan,
                                        const Exporter& exporter, const ExportOptions& options) {
  TRY_ASSIGN(const auto phantom, phantom_checkpoint(model, plan));
  return predict(*phantom, export_findings(model, export_modules(model, plan), exporter, options),
                 exporter, options);
}

Result<ExportPrediction> predict_export(const Checkpoint& model, const Exporter& exporter,
                                        const ExportOptions& options) {
  return predict(model, export_findings(model, export_modules(model), exporter, options), exporter,
                 options);
}

std::vector<Finding> blocking_findings(const std::vector<Finding>& findings,
                                       std::string_view runtime, bool accept_warnings) {
  std::vector<Finding> out;
  for (const Finding& finding : findings) {
    const bool concerns = finding.runtime.empty() || finding.runtime == runtime;
    if (concerns &&
        (finding.level == Level::refuse || (finding.level == Level::warning && !accept_warnings)))
      out.push_back(finding);
  }
  return out;
}

Result<void> stop_if_blocked(const std::vector<Finding>& findings, const Exporter& exporter,
                             std::string_view runtime, bool accept_warnings) {
  const auto blocking = blocking_findings(findings, runtime, accept_warnings);
  if (blocking.empty())
    return {};
  const auto refused = std::find_if(blocking.begin(), blocking.end(), [](const Finding& finding) {
    return finding.level == Level::refuse;
  });
  const std::string id(exporter.id);
  std::string modules; // all that are refused
  for (const Finding& finding : blocking)
    if (finding.level == Level::refuse && !finding.module.empty())
      modules += (modules.empty() ? "" : ", ") + finding.module;
  if (refused != blocking.end())
    return Error{"unsupported",
                 "The format " + id + " cannot hold this. " + listed(blocking, Level::refuse),
                 modules};
  return Error{"warnings",
               "Nothing was written: there are warnings about the export to " + id +
                   (runtime.empty() ? "" : " for " + std::string(runtime)) +
                   ". Accept them (--accept-warnings) to write it all the same. " +
                   listed(blocking, Level::warning),
               blocking.front().module};
}

std::vector<std::string> known_runtimes() {
  std::vector<std::string> out{"transformers", "vllm", "llama.cpp", "onnxruntime", "mlx"};
  for (const Exporter* exporter : all_exporters())
    for (const UseWith& use : exporter->uses)
      if (std::find(out.begin(), out.end(), use.runtime) == out.end())
        out.emplace_back(use.runtime);
  return out;
}

std::string_view level_name(Level level) {
  static constexpr std::array<std::string_view, 3> names{"note", "warning", "refuse"};
  return names[std::size_t(level)];
}

std::string finding_text(const Finding& finding) {
  return (finding.module.empty() ? "" : finding.module + ": ") +
         (finding.runtime.empty() ? "" : "for " + finding.runtime + ": ") + finding.message;
}

Result<void> check_space(const fs::path& folder, std::uint64_t bytes) {
  const auto available = free_space(folder);
  if (available && *available < bytes)
    return Error{"no-space", no_space(bytes, *available), folder.string()};
  return {};
}

} // namespace bitlathe
