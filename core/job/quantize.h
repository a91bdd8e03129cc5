// SPDX-License-Identifier: Apache-2.0
// The main job: run a plan module by module, keep canonical results, measure the error of what is
// stored.
#pragma once

#include "core/calib/statistics.h"
#include "core/job/memory.h"
#include "core/recipe/plan.h"
#include "kernels/compute/compute.h"

#include <array>
#include <functional>

namespace bitlathe {

/// What was stored for one module; figures are of the packed codes against the source, whole
/// tensors.
struct ModuleResult {
  std::string name, scheme, method, reason;
  std::uint64_t bytes = 0;
  bool quantized = false;
  double mse = 0, sqnr_db = 0, cosine = 1;
  float max_abs_error = 0;
  double seconds = 0;
  /// ||(W - W')X||^2 / ||WX||^2 over the calibration inputs; -1 without calibration.
  double output_error = -1;
  float activation_scale = 0;     ///< of a static activation scheme
  float outlier_threshold = 0;    ///< of "llm-int8"
  std::vector<std::string> notes; ///< what went another way than asked, for this module
};

struct QuantizeSummary {
  std::vector<ModuleResult> modules; ///< every module of the model, in order
  std::vector<std::string> notes;
  std::uint64_t bytes_before = 0, bytes_after = 0;
  double bits_per_weight = 0, bits_per_quantized_weight = 0, seconds = 0;
  std::string backend;                         ///< "cpu (avx512vnni)", "vulkan (llvmpipe ...)"
  std::vector<std::array<float, 2>> kv_scales; ///< per layer, of a static KV scheme
  CalibrationRecord calibration;               ///< the text that was used; empty: none
};

struct QuantizeOptions {
  fs::path result_folder;                           ///< where canonical results are kept; created
  const ActivationStatistics* statistics = nullptr; ///< importance for methods that use it
  /// Calibration text as token ids, for calibrated methods; they need it.
  const std::vector<std::vector<std::int32_t>>* samples = nullptr;
  /// Called after each module, from the job's thread.
  std::function<void(const ModuleResult&)> on_module;
};

/// Whether a plan needs calibration text (QuantizeOptions::samples).
bool calibrates(const Plan& plan);

/// feedback counts source bytes. NaN or infinite weights are an error naming the module. On error
/// or cancel the result folder is removed.
Result<QuantizeSummary> run_quantize(const Checkpoint& checkpoint, const Plan& plan,
                                     Compute& compute, const QuantizeOptions& options,
                                     Feedback& feedback);

} // namespace bitlathe
