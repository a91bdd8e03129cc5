// SPDX-License-Identifier: Apache-2.0
#include "core/job/static_scales.h"

#include "core/methods/method.h"
#include "core/schemes/activations.h"

#include <algorithm>
#include <cmath>

namespace bitlathe {

namespace {

bool needs_scales(const Plan& plan) { return needs_input_scales(plan) || needs_kv_scales(plan); }

std::string percent(std::size_t part, std::size_t whole) {
  const double share = whole ? 100.0 * double(part) / double(whole) : 0;
  return std::to_string(int(share)) + "." + std::to_string(int(share * 10) % 10) + " %";
}

/// What the calibration lets expect of LLM.int8().
std::string outlier_note(const ActivationModule& seen, float threshold) {
  const std::vector<float> absmax = seen.channel_absmax();
  if (absmax.empty())
    return {};
  const auto hit = std::size_t(
      std::count_if(absmax.begin(), absmax.end(), [&](float a) { return a >= threshold; }));
  return std::to_string(hit) + " of " + std::to_string(absmax.size()) + " input columns (" +
         percent(hit, absmax.size()) + ") reach the threshold in the calibration";
}

} // namespace

Result<void> check_static_scales(const Checkpoint& checkpoint, const Plan& plan,
                                 const QuantizeOptions& options) {
  if (options.samples && !options.samples->empty())
    return {};
  if (needs_scales(plan) && !options.statistics) {
    std::string what = needs_input_scales(plan) ? "Static activation scales" : "A static KV scheme";
    for (const PlannedModule& module : plan.modules)
      if (module.activations.find("static") != std::string::npos)
        return Error{"bad-argument",
                     what +
                         " need calibration text or statistics; give some, or choose a dynamic "
                         "scheme (" +
                         module.activations + " is planned)",
                     module.name};
    return Error{"bad-argument",
                 what + " needs calibration text or statistics; give some, or choose f8_e4m3",
                 checkpoint.path.string()};
  }
  if (needs_scales(plan)) // what the statistics lack is better known now
    TRY(static_scales(checkpoint, plan, *options.statistics));
  return {};
}

Result<void> add_activation_settings(const Checkpoint& checkpoint, const Plan& plan,
                                     Compute& compute, const QuantizeOptions& options,
                                     ResultWriter& writer, QuantizeSummary& summary,
                                     Feedback& feedback) {
  StaticScales scales;
  if (needs_scales(plan)) {
    if (options.samples && !options.samples->empty()) {
      feedback.set_step("calibration: static scales");
      TRY_ASSIGN(const auto coded, open_checkpoint(options.result_folder));
      EngineOptions engine;
      engine.activations = "none";
      engine.kv = KvScheme{"f32", "f32"};
      TRY_ASSIGN(const ActivationStatistics seen,
                 calibrate(coded, compute, *options.samples, feedback, engine));
      TRY_ASSIGN(scales, static_scales(checkpoint, plan, seen));
    } else {
      TRY_ASSIGN(scales, static_scales(checkpoint, plan, *options.statistics));
    }
  }
  bool changed = !scales.kv.empty();
  for (std::size_t i = 0; i < plan.modules.size(); ++i) {
    const PlannedModule& planned = plan.modules[i];
    ModuleResult& result = summary.modules[i];
    if (!planned.quantize)
      continue;
    if (const auto scale = scales.inputs.find(planned.name); scale != scales.inputs.end())
      result.activation_scale = scale->second;
    if (const auto note = scales.notes.find(planned.name); note != scales.notes.end()) {
      result.notes.push_back(note->second);
      summary.notes.push_back(planned.name + ": " + note->second);
    }
    if (planned.activations == "llm-int8") {
      const Method* method = find_method(planned.method);
      result.outlier_threshold = method->id == "llm-int8"
                                     ? float(method_param(*method, planned.params, "threshold"))
                                     : standard_outlier_threshold;
      if (options.statistics)
        if (const auto seen = options.statistics->modules.find(planned.name);
            seen != options.statistics->modules.end() && result.outlier_threshold > 0)
          if (std::string note = outlier_note(seen->second, result.outlier_threshold);
              !note.empty())
            result.notes.push_back(std::move(note));
    }
    if (result.activation_scale != 0 || result.outlier_threshold != 0) {
      writer.set_activations(planned.name, result.activation_scale, result.outlier_threshold);
      changed = true;
    }
  }
  summary.kv_scales = std::move(scales.kv);
  return changed ? writer.finish(summary) : Result<void>();
}

} // namespace bitlathe
