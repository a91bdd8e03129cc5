// SPDX-License-Identifier: Apache-2.0
// Activation schemes: how the inputs of a linear are coded before the product. One table; plans,
// help, menus and the engine iterate it. "none" is not in it: floats go in as they are.
#pragma once

#include "core/schemes/scheme.h"
#include "kernels/compute/compute.h"
#include "kernels/quant/activations.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bitlathe {

/// One product y[m][rows] = coded(x)[m][cols] W^T.
struct ActivationProduct {
  Compute& compute;
  const LoadedMatrix& weight;
  const MatrixView& view; ///< of the same weight in memory
  const float* x;         ///< finite values only
  std::int64_t m;
  std::span<const TokenScan> tokens; ///< of x
  float scale;                       ///< of static schemes
  float threshold;                   ///< of LLM.int8()
  float* y;
  ActivationCounts& counts; ///< clipped values and outlier columns are added
};

struct ActivationScheme {
  std::string_view id, title;
  std::string_view summary; ///< one sentence for help and tooltips
  /// The code of the largest magnitude: a static scale is absmax / largest.
  float largest = 0;
  bool is_static = false; ///< one scale per linear, from calibration
  bool simulated = false; ///< values are rounded as coding would, but multiplied as floats
  /// Why weights of a scheme cannot be multiplied with such activations; empty when they can.
  std::string (*declines)(const Scheme& weight);
  Result<void> (*multiply)(const ActivationProduct& product);
  /// Containers store 1 / scale: calibrated scales are inverses themselves, so that none is lost.
  bool stored_inverse = false;
};

std::span<const ActivationScheme> all_activation_schemes();
/// nullptr when unknown, "none" included.
const ActivationScheme* find_activation_scheme(std::string_view id);
/// "none, int8-token-dynamic, ...", for messages.
std::string known_activation_schemes();
/// nullptr for "none" and the empty id; Error "bad-argument" that lists the known ones.
Result<const ActivationScheme*> parse_activation_scheme(std::string_view id);

/// Of LLM.int8() where nothing else is said.
constexpr float standard_outlier_threshold = 6.0f;

} // namespace bitlathe
