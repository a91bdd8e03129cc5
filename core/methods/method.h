// SPDX-License-Identifier: Apache-2.0
// Methods: how the codes of a scheme are chosen. A method is one file in core/methods/ and one word
// in core/CMakeLists.txt. Methods know no file formats.
#pragma once

#include "core/base/json.h"
#include "core/schemes/scheme.h"
#include "kernels/compute/compute.h"

#include <span>
#include <string>
#include <vector>

namespace bitlathe {

/// A parameter of a method; front ends build their forms and their help from these.
struct MethodParam {
  std::string_view key, summary;
  double standard, low, high;
  bool integer = false;
};

struct InputStatistics; // core/methods/block.h
class CalibratedBlock;

struct MethodInput {
  const FloatView& weight; ///< [out][in]
  const Scheme& scheme;    ///< quantized
  const Json& params;      ///< validated against `Method::params`
  std::string observer = "minmax";
  /// Mean squared activation of every input column, when calibration has it; else empty.
  std::span<const float> importance;
  Compute& compute;
  Feedback& feedback;
  std::string where;          ///< module name, for messages
  std::string_view part = {}; ///< what the module is in its block: Module::part
  std::int64_t seed = 0;      ///< of the recipe, for methods that draw numbers
  /// What calibration found of the module's inputs; null without calibration.
  const InputStatistics* inputs = nullptr;
};

/// The same input with other parameters, for methods that leave the coding to another one. `params`
/// must outlive the result.
MethodInput with_params(const MethodInput& input, const Json& params);

struct MethodOutput {
  QTensor tensor;
  std::vector<std::string> notes = {}; ///< "12 scales raised to the smallest f16"
  bool weighted = false;               ///< the importance was used
};

struct Method {
  std::string_view id, title, summary;
  std::span<const MethodParam> params;
  bool uses_importance = false;
  /// Reason why it cannot make this scheme; empty when it can.
  std::string (*declines)(const Scheme& scheme);
  Result<MethodOutput> (*quantize)(const MethodInput& input);
  /// Works on the calibrated blocks of a model, one after the other: `quantize` gets the input
  /// statistics, with second moments. Without calibration such a method is an error.
  bool calibrated = false;
  /// Called once per block before its modules are coded: may change the block's weights without
  /// changing what the block computes, or leave finished codes. May be null.
  Result<void> (*prepare)(CalibratedBlock& block) = nullptr;
  /// The activation scheme that goes with the method unless the recipe names one; empty: none.
  std::string_view activations = {};
  /// Whether codes are stored in another order than the columns (QTensor::column_order). May be
  /// null: never.
  bool (*reorders_columns)(const Json& params) = nullptr;
};
std::span<const Method* const> all_methods();
const Method* find_method(std::string_view id);
/// The first method that makes codes of a scheme, one without calibration if there is one; nullptr
/// when none does.
const Method* encoder_of(const Scheme& scheme);
/// Why no method can make codes of a scheme; empty when one can. Every scheme can be read and run.
std::string cannot_encode(const Scheme& scheme);

/// The value of a parameter: given, or the method's standard one.
double method_param(const Method& method, const Json& params, std::string_view key);
/// Unknown keys, wrong types and values out of range are errors.
Result<void> check_method_params(const Method& method, const Json& params,
                                 const std::string& where);

} // namespace bitlathe
