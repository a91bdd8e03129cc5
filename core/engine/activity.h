// SPDX-License-Identifier: Apache-2.0
// What an engine has seen of the inputs of its linears and of keys and values while it ran.
#pragma once

#include "kernels/nn/kv.h"
#include "kernels/quant/activations.h"

#include <string>
#include <vector>

namespace bitlathe {

struct ModuleActivity {
  std::string module;
  std::string activations; ///< the scheme they ran with, or "none"
  ActivationCounts counts;

  /// Share of input columns that stayed f16 (LLM.int8()), over all calls.
  double outlier_share() const {
    return counts.columns ? double(counts.outlier_columns) / double(counts.columns) : 0;
  }
};

struct EngineActivity {
  std::vector<ModuleActivity> modules; ///< that were called, in model order
  std::vector<KvCounts> layers;        ///< keys and values of every layer, all sequences together

  /// What a person should know: outlier shares, clipped and broken values, by module.
  std::vector<std::string> notes() const;
};

} // namespace bitlathe
