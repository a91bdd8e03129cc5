// SPDX-License-Identifier: Apache-2.0
// Static scales from calibration: one per linear input for activation schemes that need it, and one
// for the keys and one for the values of every layer.
#pragma once

#include "core/calib/statistics.h"
#include "core/recipe/plan.h"

#include <array>
#include <map>

namespace bitlathe {

struct StaticScales {
  std::map<std::string, float> inputs;      ///< by module name
  std::vector<std::array<float, 2>> kv;     ///< per layer: keys, values; empty: not asked for
  std::map<std::string, std::string> notes; ///< by module name
};

/// Whether a plan asks for static scales of inputs, or of keys and values.
bool needs_input_scales(const Plan& plan);
bool needs_kv_scales(const Plan& plan);

/// Which linears read the same input: equal keys, whatever the architecture.
std::string input_key(const Module& module);

/// Linears that read the same input share their scale. Errors name the module that calibration did
/// not see, or the observer that is not known.
Result<StaticScales> static_scales(const Checkpoint& checkpoint, const Plan& plan,
                                   const ActivationStatistics& statistics);

} // namespace bitlathe
