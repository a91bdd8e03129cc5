// SPDX-License-Identifier: Apache-2.0
// SmoothQuant (Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization for
// Large Language Models", 2022): outliers of activations move into the weights, channel by channel:
//   s_j = max|X_j|^alpha / max|W_j|^(1 - alpha),
// over the linears behind the norms of a block. Codes are rounded to nearest then.
#include "core/methods/fold.h"

#include <algorithm>
#include <cmath>

namespace bitlathe {

extern const Method method_smoothquant;

namespace {

constexpr MethodParam params[] = {
    {"alpha", "How much of the outliers moves into the weights; a rule can set it per layer.", 0.5,
     0, 1},
};

std::string declines(const Scheme& scheme) { return find_method("rtn")->declines(scheme); }

Result<void> prepare(CalibratedBlock& block) {
  for (const Fold& fold : folds_of(block)) {
    if (!fold.norm)
      continue;
    const auto smoothed =
        std::find_if(fold.targets.begin(), fold.targets.end(), [](const BlockLinear* linear) {
          return linear->method == &method_smoothquant;
        });
    if (smoothed == fold.targets.end())
      continue;
    const double alpha = method_param(method_smoothquant, (*smoothed)->planned->params, "alpha");
    std::vector<float> weight_max(std::size_t(fold.channels), 0.0f),
        scales(weight_max.size(), 1.0f);
    for (const BlockLinear* target : fold.targets)
      for (std::size_t i = 0; i < target->weight.size(); ++i) {
        float& most = weight_max[i % weight_max.size()];
        most = std::max(most, std::fabs(target->weight[i]));
      }
    const std::vector<float>& input_max = (*smoothed)->inputs->absmax;
    for (std::size_t c = 0; c < scales.size(); ++c) {
      const double s = std::pow(std::max(double(input_max[c]), 1e-5), alpha) /
                       std::pow(std::max(double(weight_max[c]), 1e-5), 1 - alpha);
      scales[c] = float(std::clamp(s, 1e-5, 1e5));
    }
    apply_fold(fold, scales, block.spec());
  }
  return {};
}

Result<MethodOutput> quantize(const MethodInput& input) {
  const Json none = Json::object();
  return find_method("rtn")->quantize(with_params(input, none));
}

} // namespace

const Method method_smoothquant{
    .id = "smoothquant",
    .title = "SmoothQuant",
    .summary = "Moves outliers of activations into the weights, so that both can be coded in "
               "8 bits.",
    .params = params,
    .uses_importance = true,
    .declines = declines,
    .quantize = quantize,
    .calibrated = true,
    .prepare = prepare,
    .activations = "int8-token-dynamic"};

} // namespace bitlathe
