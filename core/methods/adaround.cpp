// SPDX-License-Identifier: Apache-2.0
// AdaRound: the rounding of every linear is learned by itself, against what it puts out. The error
// ||(W - W')X||^2 needs only the second moments of X, so every step sees all calibration text.
#include "core/methods/soft_rounding.h"

namespace bitlathe {

extern const Method method_adaround;

namespace {

constexpr MethodParam params[] = {
    {"iterations", "Steps of learning.", 500, 1, 100000, true},
    {"lr", "Step size of Adam.", 0.05, 1e-5, 1},
    {"strength", "Weight of the term that drives every rounding to a decision.", 100, 0, 1e6},
    {"warmup", "Share of the steps before that term sets in.", 0.2, 0, 0.9},
    {"search", "1: start from ranges of least squared error where they are better; 0: full ranges.",
     1, 0, 1, true},
};

Result<MethodOutput> quantize(const MethodInput& input) {
  const auto value = [&](std::string_view key) {
    return method_param(method_adaround, input.params, key);
  };
  TRY_ASSIGN(LearnedLinear linear, start_learning(input, value("search") > 0));
  TRY_ASSIGN(const auto loss, LinearLoss::create(linear, input.compute));
  TRY_ASSIGN(const double start, loss->whole());
  if (start > 0) {
    const std::vector<float> before = linear.values;
    const SoftSettings settings{std::int64_t(value("iterations")), value("lr"), value("strength"),
                                value("warmup")};
    TRY(learn_soft_rounding({&linear, 1}, *loss, settings, start, input.where, input.feedback));
    TRY(keep_better(linear, before, IntGrids(linear.grids)));
    TRY(keep_better(linear, linear.rounded, linear.rounded_grids));
  }
  return pack_learned(linear, input.compute, input.feedback);
}

} // namespace

const Method method_adaround{
    .id = "adaround",
    .title = "AdaRound",
    .summary = "Learns for every weight whether it goes to the code below or above, so that what "
               "the linear puts out changes least.",
    .params = params,
    .declines = learned_declines,
    .quantize = quantize,
    .calibrated = true};

} // namespace bitlathe
