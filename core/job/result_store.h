// SPDX-License-Identifier: Apache-2.0
// A kept result: canonical quantized tensors in a folder, so that one quantization can be exported
// to several formats and compared without an export. Layout of the folder:
//   result.json           manifest: source path, recipe, plan, per-module metrics, versions
//   tensors/NNNNN.bltensor one safetensors file per stored module: codes, scales, zeros,
//                          nested, column_order
// A result folder is itself a checkpoint (format "result"): unquantized modules come from its
// source.
#pragma once

#include "core/job/quantize.h"

namespace bitlathe {

class ResultWriter {
 public:
  static Result<std::unique_ptr<ResultWriter>> create(const fs::path& folder,
                                                      const Checkpoint& source, const Plan& plan);
  virtual ~ResultWriter() = default;
  virtual Result<void> add(const PlannedModule& module, const QTensor& tensor,
                           const ModuleResult& result) = 0;
  /// The bias of a module, where a method changed it.
  virtual Result<void> add_bias(const std::string& module, const QTensor& bias) = 0;
  /// What is known of a stored module's inputs only after all of them are coded; 0: nothing.
  virtual void set_activations(const std::string& module, float scale, float outlier_threshold) = 0;
  /// Writes the manifest; may be called again when something was set since.
  virtual Result<void> finish(const QuantizeSummary& summary) = 0;
};

struct KeptResult {
  fs::path folder;
  fs::path source;
  Recipe recipe;
  QuantizeSummary summary;
  Json tensors;                  ///< entries of the stored tensors, as in the manifest
  Json machine = Json::object(); ///< "version", "instruction_set", "threads" of the run
  std::uint64_t bytes = 0;       ///< size on disk
};
Result<KeptResult> read_result(const fs::path& folder);

} // namespace bitlathe
