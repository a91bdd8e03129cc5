// SPDX-License-Identifier: Apache-2.0
// LLM.int8(): the weight is plain int8 with a scale per row. What makes the method is how it is
// run: see "llm-int8" in core/schemes/activations.cpp.
#include "core/methods/int_pack.h"
#include "core/schemes/activations.h"

namespace bitlathe {

namespace {

constexpr MethodParam params[] = {
    {"threshold",
     "Input columns in which a magnitude reaches this stay f16; 0: none do, all inputs are int8.",
     double(standard_outlier_threshold), 0, 1e6}};

std::string declines(const Scheme& scheme) {
  return find_activation_scheme("llm-int8")->declines(scheme);
}

Result<MethodOutput> quantize(const MethodInput& input) {
  IntGrids grids;
  grids.spec = int_spec(input.scheme, input.weight.cols);
  std::vector<float> lo, hi;
  TRY(exact_ranges(input, grids.spec, lo, hi));
  grids.grids.resize(lo.size());
  for (std::size_t i = 0; i < lo.size(); ++i) {
    bool clamped = false;
    grids.grids[i] = make_int_grid(lo[i], hi[i], grids.spec.bits, grids.spec.symmetric,
                                   grids.spec.scale_type, &clamped);
    grids.clamped += clamped;
  }
  return pack_int(input, grids);
}

} // namespace

extern const Method method_llm_int8;
const Method method_llm_int8{
    .id = "llm-int8",
    .title = "LLM.int8()",
    .summary = "Row-wise int8 weights; at run time input columns with outliers stay f16 and the "
               "rest is int8 per token.",
    .params = params,
    .declines = declines,
    .quantize = quantize,
    .activations = "llm-int8"};

} // namespace bitlathe
