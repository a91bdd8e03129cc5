// SPDX-License-Identifier: Apache-2.0
// Exporters: canonical tensors into a foreign format. An exporter is one file in core/export/ and
// one word in core/CMakeLists.txt. Exporters know no methods.
#pragma once

#include "core/model/checkpoint.h"
#include "core/recipe/plan.h"
#include "kernels/compute/compute.h"

namespace bitlathe {

/// Something the doctor found. "refuse" stops an export before a byte is written; "warning" does
/// until it is accepted. A finding that concerns one reader only (`runtime`) stops an export that
/// is meant for this reader, and is to be shown for others.
struct Finding {
  enum class Level { note, warning, refuse } level = Level::note;
  std::string module;  ///< empty: the whole model
  std::string message; ///< what, and the nearest thing the format can hold
  std::string runtime =
      {}; ///< "vllm", "transformers", "llama.cpp", "onnxruntime", "mlx"; empty: all
};

/// What an exporter needs to know of one module before and during writing: a plan and a quantized
/// checkpoint both give it.
struct ExportModule {
  const Module* source = nullptr; ///< names, shapes, role, bias
  Scheme scheme;                  ///< to be stored
  std::string activations = "none";
  bool reordered = false; ///< with an order of columns (act-order)
};

struct ExportInput {
  const Checkpoint&
      model;         ///< a checkpoint whose modules are in the form to be exported (a kept result)
  std::string name;  ///< for file names: NAME-SCHEME.gguf
  std::string label; ///< SCHEME part: "Q4_K_M", "q4_0", "int4-g128-asym", "mixed"
  std::uint64_t shard_limit = 5ull << 30;
  bool split = false; ///< the limit was asked for: formats that are one file are split too
};

/// The files of an export, described. Weights are read when a file is written, not before: the
/// sizes are also asked for when there are no weights yet.
struct ExportFiles {
  fs::path checkpoint; ///< the file that is the checkpoint; "." for the folder
  std::vector<FileToWrite> files;
};

struct VerifyCheck {
  std::string name;
  bool ok = true;
  std::string detail;
};
struct VerifyWorst {
  std::string module;
  double mse = 0, sqnr_db = 0;
  float max_abs_error = 0;
};
struct VerifyReport {
  bool ok = true;
  std::vector<VerifyCheck> checks;
  std::vector<VerifyWorst> worst; ///< modules with the largest error first, at most 10
};

/// How a reader is told to use an export; "{path}" and "{name}" stand for the checkpoint's.
struct UseWith {
  std::string_view runtime; ///< as in Finding
  std::string_view title;   ///< "vLLM"
  std::string_view text;    ///< a command or some lines of Python
};

struct ExportMemo;
struct Exporter {
  std::string_view id, title, summary;
  std::string_view loaders; ///< who reads it: "vLLM, transformers"
  /// Everything this format cannot hold or a reader would stumble over.
  std::vector<Finding> (*examine)(const Checkpoint& model,
                                  const std::vector<ExportModule>& modules);
  Result<ExportFiles> (*files)(const ExportInput& input);
  /// The scheme to use instead when only the shape stands in the way (a last group that is
  /// shorter), with the reason; an empty scheme when there is nothing to change. May be null.
  struct Fallback {
    std::string scheme, reason;
  };
  Fallback (*fallback)(const Scheme& scheme, const Module& module) = nullptr;
  std::span<const UseWith> uses = {};
  /// The rules that this format's loaders check, held against the files at `path`, whoever wrote
  /// them. Reads the files itself, not through this program's reader. May be null.
  std::vector<VerifyCheck> (*rules)(const fs::path& path) = nullptr;
  /// For formats that are no MODEL, so that no reader opens them: whether `path` is one, and its
  /// verification. Otherwise null.
  bool (*recognises)(const fs::path& path) = nullptr;
  Result<VerifyReport> (*verify)(const fs::path& path, const Checkpoint* against,
                                 Feedback& feedback) = nullptr;
};
std::span<const Exporter* const> all_exporters();
const Exporter* find_exporter(std::string_view id);

std::vector<ExportModule> export_modules(const Checkpoint& checkpoint, const Plan& plan);
std::vector<ExportModule> export_modules(const Checkpoint& quantized);

/// Gives modules whose shape the format cannot hold in the planned scheme the format's fallback,
/// with reason, bytes and a note. What has no fallback is left for `examine` to refuse.
void fit_plan(Plan& plan, const Checkpoint& checkpoint, const Exporter& exporter);

/// Examine, write into a staging folder, re-open with the project's own reader, compare tensor by
/// tensor, then move into place. Returns the path of the checkpoint. On any error nothing is left
/// behind.
struct ExportOptions {
  fs::path folder;
  std::string name;
  bool replace = false;
  std::uint64_t shard_limit = 0; ///< 0: as the format usually has it (folders: 5 GiB; GGUF: whole)
  std::string label = {};   ///< a mix that the weights were made by; empty: what they look like
  std::string runtime = {}; ///< the one reader that it is meant for, as in Finding; empty: any
  /// All formats that the plan behind the weights was fitted to, for the manifest; empty: this one.
  std::vector<std::string> formats = {};
  /// The result and the export are run over so many tokens and must agree; 0: not.
  std::int64_t logit_tokens = 64;
  bool accept_warnings = false; ///< write although warnings stand; refusals stop it in any case
  /// Shared by the exports of one model, in one run (core/export/memo.h); null: each is on its own.
  std::shared_ptr<ExportMemo> memo = {};
};
/// What the exporter is given: names made fit for files, and the label of the weights.
ExportInput export_input(const Checkpoint& model, const ExportOptions& options);
/// What `examine` finds, and whether the reader that the export is meant for takes the format.
std::vector<Finding> export_findings(const Checkpoint& model,
                                     const std::vector<ExportModule>& modules,
                                     const Exporter& exporter, const ExportOptions& options);
struct ExportOutcome {
  fs::path path;
  std::uint64_t bytes = 0; ///< of the checkpoint's files; the manifest is not counted
  fs::path manifest;       ///< what it was made from and how, with the hashes of all files
  std::vector<Finding> findings;
  std::vector<VerifyCheck> checks; ///< what was held against the kept weights after writing
  std::vector<std::string> notes;
};
Result<ExportOutcome> run_export(const Checkpoint& model, const Exporter& exporter,
                                 const ExportOptions& options, Feedback& feedback);

/// Structure checks of a checkpoint, the rules of its loaders, and the comparison with another one.
Result<VerifyReport> verify_checkpoint(const fs::path& path, const Checkpoint* against,
                                       Compute& compute, Feedback& feedback);

} // namespace bitlathe
