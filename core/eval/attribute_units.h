// SPDX-License-Identifier: Apache-2.0
// What can be exchanged on its own between a model and its quantized form: single modules, or
// several that scales were moved between. Internal to core/eval.
#pragma once

#include "core/model/checkpoint.h"
#include "kernels/compute/compute.h"

namespace bitlathe {

struct ExchangeUnit {
  std::vector<std::size_t> modules; ///< indices in the reference, in model order
  std::string name, role, scheme;   ///< of the candidate
  int layer = -1;
  std::uint64_t bytes = 0; ///< in the candidate
  std::int64_t parameters = 0;
  double weight_error = 0; ///< ||W - W'||^2 / ||W||^2 over all its weights
  std::string signature;   ///< of what the candidate stores
};

struct ExchangeUnits {
  std::vector<ExchangeUnit> units;    ///< in model order
  std::vector<const Module*> partner; ///< in the candidate, by index in the reference; null: none
  std::vector<std::string> notes;
};

/// Modules whose values or activation scheme differ. Errors: "mismatch" when the two are not the
/// same model.
Result<ExchangeUnits> find_exchange_units(const Checkpoint& reference, const Checkpoint& candidate,
                                          Compute& compute, Feedback& feedback);

/// Why the candidate's configuration cannot stand for the reference's; empty when it can.
std::string why_not_same_model(const ModelSpec& reference, const ModelSpec& candidate);
/// Settings of configurations of the same shape that change what a model computes.
std::vector<std::string> spec_differences(const ModelSpec& reference, const ModelSpec& candidate);

/// A hash of what is stored in a module.
Result<std::string> module_signature(const Module& module);

} // namespace bitlathe
