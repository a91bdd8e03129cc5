// SPDX-License-Identifier: Apache-2.0
// BRECQ (Li et al. 2021): the rounding of all linears of a block is learned together, against what
// the block puts out, by the way back through the block. As in the paper, only what rounds up or
// down is learned; the error is the plain mean square. The head, which is no block, is learned as
// by AdaRound.
#include "core/methods/soft_rounding.h"

namespace bitlathe {

extern const Method method_adaround, method_brecq;

namespace {

constexpr MethodParam params[] = {
    {"iterations", "Steps of learning.", 300, 1, 100000, true},
    {"lr", "Step size of Adam.", 0.05, 1e-5, 1},
    {"strength", "Weight of the term that drives every rounding to a decision.", 100, 0, 1e6},
    {"warmup", "Share of the steps before that term sets in.", 0.2, 0, 0.9},
    {"batch", "Samples per step.", 8, 1, 1024, true},
    {"search", "1: start from ranges of least squared error where they are better; 0: full ranges.",
     1, 0, 1, true},
};

Result<MethodOutput> quantize(const MethodInput& input) {
  Json shared = input.params;
  shared.erase("batch");
  return method_adaround.quantize(with_params(input, shared));
}

Result<void> prepare(CalibratedBlock& block) {
  const BlockLinear* first = first_to_learn(block, method_brecq);
  if (!first)
    return {};
  const auto value = [&](std::string_view key) {
    return method_param(method_brecq, first->planned->params, key);
  };
  const SoftSettings settings{std::int64_t(value("iterations")), value("lr"), value("strength"),
                              value("warmup")};
  TRY_ASSIGN(auto linears, start_learning(block, method_brecq, value("search") > 0));
  return learn_block(
      block, linears, std::int64_t(value("batch")), [&](OutputLoss& loss, double start) {
        return learn_soft_rounding(linears, loss, settings, start,
                                   "block " + std::to_string(block.layer + 1), block.feedback());
      });
}

} // namespace

const Method method_brecq{
    .id = "brecq",
    .title = "BRECQ",
    .summary = "Learns for every weight of a block whether it goes to the code below or above, so "
               "that what the whole block puts out changes least.",
    .params = params,
    .declines = learned_declines,
    .quantize = quantize,
    .calibrated = true,
    .prepare = prepare};

} // namespace bitlathe
