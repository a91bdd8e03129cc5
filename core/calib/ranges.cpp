// SPDX-License-Identifier: Apache-2.0
#include "core/calib/ranges.h"

#include "core/observers/histogram.h"
#include "core/schemes/activations.h"
#include "kernels/nn/kv.h"

#include <algorithm>
#include <cmath>

namespace bitlathe {

namespace {

const ActivationScheme* static_scheme(const PlannedModule& planned) {
  const ActivationScheme* scheme =
      planned.quantize ? find_activation_scheme(planned.activations) : nullptr;
  return scheme && scheme->is_static ? scheme : nullptr;
}

/// Range of all linears that share an input.
Result<void> widen(const ActivationModule& seen, const Observer& observer,
                   const ActivationScheme& scheme, Range& range) {
  ObserverContext context;
  if (scheme.id.substr(0, 2) == "f8")
    context.element = ObserverContext::Element::f8_e4m3;
  TRY_ASSIGN(const Range found, observe_activations(observer, seen, context));
  if (!std::isfinite(found.lo) || !std::isfinite(found.hi))
    return Error{"bad-file",
                 "The statistics hold " + std::to_string(seen.moments.nan) + " NaN and " +
                     std::to_string(seen.moments.inf) +
                     " infinite inputs, so there is no range for a static scale",
                 seen.name};
  range.lo = std::min(range.lo, found.lo);
  range.hi = std::max(range.hi, found.hi);
  return {};
}

Result<void> input_scales(const Checkpoint& checkpoint, const Plan& plan,
                          const ActivationStatistics& statistics, StaticScales& out) {
  const Observer* observer = find_observer(plan.recipe.activation_observer);
  if (!observer)
    return Error{
        "bad-argument", "Unknown observer \"" + plan.recipe.activation_observer + "\"", {}};
  std::map<std::string, Range> ranges;
  for (std::size_t i = 0; i < plan.modules.size(); ++i) {
    const ActivationScheme* scheme = static_scheme(plan.modules[i]);
    if (!scheme)
      continue;
    const Module& module = checkpoint.modules[i];
    const auto seen = statistics.modules.find(module.name);
    if (seen == statistics.modules.end() || seen->second.tokens == 0)
      return Error{"bad-argument",
                   "Calibration has not seen the inputs of this module, so " +
                       std::string(scheme->id) + " has no scale for it",
                   module.name};
    const auto columns = std::int64_t(seen->second.channel_min.size());
    if (columns > 0 && columns != module.weight.cols)
      return Error{"mismatch",
                   "The activation statistics have " + std::to_string(columns) +
                       " columns, the weight has " + std::to_string(module.weight.cols),
                   module.name};
    TRY(widen(seen->second, *observer, *scheme, ranges[input_key(module)]));
  }
  for (std::size_t i = 0; i < plan.modules.size(); ++i) {
    const ActivationScheme* scheme = static_scheme(plan.modules[i]);
    if (!scheme)
      continue;
    const Module& module = checkpoint.modules[i];
    const Range range = ranges[input_key(module)];
    const float absmax = std::max(std::fabs(range.lo), std::fabs(range.hi));
    float scale = activation_scale(absmax, scheme->largest);
    if (scheme->stored_inverse)
      scale = 1.0f / (1.0f / scale);
    out.inputs[module.name] = scale;
    if (absmax == 0)
      out.notes[module.name] = "its inputs were all zero in the calibration; the scale is 1";
    else if (absmax / scheme->largest < std::numeric_limits<float>::min())
      out.notes[module.name] = "the scale of its inputs was raised to the smallest f32";
  }
  return {};
}

} // namespace

bool needs_input_scales(const Plan& plan) {
  return std::any_of(plan.modules.begin(), plan.modules.end(),
                     [](const PlannedModule& planned) { return static_scheme(planned); });
}

bool needs_kv_scales(const Plan& plan) {
  return kv_is_static(plan.recipe.kv_keys) || kv_is_static(plan.recipe.kv_values);
}

std::string input_key(const Module& module) {
  std::string what = module.name;
  for (const auto& [name, input] : {std::pair{"q", "attention"},
                                    {"k", "attention"},
                                    {"v", "attention"},
                                    {"gate", "mlp"},
                                    {"up", "mlp"}})
    if (module.part == name || (module.part.empty() && module.role == std::string(name) + "_proj"))
      what = input;
  return std::to_string(module.layer) + " " + what;
}

Result<StaticScales> static_scales(const Checkpoint& checkpoint, const Plan& plan,
                                   const ActivationStatistics& statistics) {
  StaticScales out;
  TRY(input_scales(checkpoint, plan, statistics, out));
  if (!needs_kv_scales(plan))
    return out;
  const std::int64_t layers = checkpoint.spec ? checkpoint.spec->layers : 0;
  if (std::int64_t(statistics.kv_absmax.size()) != layers || layers == 0)
    return Error{"bad-argument",
                 "The statistics hold the ranges of keys and values for " +
                     std::to_string(statistics.kv_absmax.size()) + " layers, the model has " +
                     std::to_string(layers) +
                     ": calibrate with text for a static KV scheme, or choose f8_e4m3",
                 {}};
  for (const auto& absmax : statistics.kv_absmax) {
    if (!std::isfinite(absmax[0]) || !std::isfinite(absmax[1]))
      return Error{"bad-file", "The ranges of keys and values are not finite", {}};
    out.kv.push_back({kv_static_scale(absmax[0]), kv_static_scale(absmax[1])});
  }
  return out;
}

} // namespace bitlathe
