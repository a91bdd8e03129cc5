// SPDX-License-Identifier: Apache-2.0
// What can be said of an export before it is made: findings, the size to the byte, the space on the
// disk, and whether anything stands in the way.
#pragma once

#include "core/export/exporter.h"

#include <optional>

namespace bitlathe {

struct ExportPrediction {
  struct File {
    fs::path name;
    std::uint64_t bytes = 0;
  };
  std::vector<Finding> findings; ///< the format's, and too little space on the target's disk
  /// Every file of the checkpoint with its exact size; empty when something is refused. The
  /// manifest beside the checkpoint is not among them.
  std::vector<File> files;
  std::uint64_t bytes = 0;                 ///< of all files
  std::optional<std::uint64_t> free_bytes; ///< where `options.folder` is, when one is given
};

/// The export of a plan that has not been run, after fit_plan(). Reads no weights.
Result<ExportPrediction> predict_export(const Checkpoint& model, const Plan& plan,
                                        const Exporter& exporter, const ExportOptions& options);
/// The export of a checkpoint as it is.
Result<ExportPrediction> predict_export(const Checkpoint& model, const Exporter& exporter,
                                        const ExportOptions& options);

/// The findings that stop an export: refusals; warnings that concern everybody; and what concerns
/// one runtime only if it is the one the export is meant for. Warnings do not stop it once
/// accepted.
std::vector<Finding> blocking_findings(const std::vector<Finding>& findings,
                                       std::string_view runtime, bool accept_warnings);
/// Error "unsupported" (something is refused) or "warnings" that lists what stops the export.
Result<void> stop_if_blocked(const std::vector<Finding>& findings, const Exporter& exporter,
                             std::string_view runtime, bool accept_warnings);

/// The runtimes that exporters' findings and snippets name.
std::vector<std::string> known_runtimes();
/// "note", "warning", "refuse".
std::string_view level_name(Finding::Level level);
/// "model.layers.0.mlp: message (vllm)", for people.
std::string finding_text(const Finding& finding);

/// Room for `bytes` where `folder` is or would be made; otherwise "no-space".
Result<void> check_space(const fs::path& folder, std::uint64_t bytes);

} // namespace bitlathe
