// SPDX-License-Identifier: Apache-2.0
#include "core/methods/int_pack.h"

#include "core/methods/output.h"

#include <algorithm>
#include <cmath>

namespace bitlathe {

IntSpec int_spec(const Scheme& scheme, std::int64_t cols) {
  IntSpec spec;
  spec.bits = int(scheme.bits);
  spec.group = scheme.group > 0 ? std::min(scheme.group, cols) : cols;
  spec.symmetric = scheme.symmetric;
  spec.per_tensor = scheme.per_tensor;
  spec.scale_type = scheme.float_type;
  return spec;
}

Result<void> exact_ranges(const MethodInput& input, const IntSpec& spec, std::vector<float>& lo,
                          std::vector<float>& hi) {
  const auto groups = (input.weight.cols + spec.group - 1) / spec.group;
  lo.resize(std::size_t(input.weight.rows * groups));
  hi.resize(lo.size());
  TRY(input.compute.group_ranges(input.weight, spec.group, lo, hi, &input.feedback));
  for (std::size_t i = 0; i < lo.size(); ++i)
    if (!std::isfinite(lo[i]) || !std::isfinite(hi[i]))
      return Error{"bad-file",
                   std::string("The weight holds ") +
                       (std::isnan(lo[i]) || std::isnan(hi[i]) ? "NaN" : "infinite") +
                       " values (row " + std::to_string(std::int64_t(i) / groups) +
                       "); it cannot be quantized",
                   input.where};
  if (spec.per_tensor && !lo.empty()) {
    lo = {*std::min_element(lo.begin(), lo.end())};
    hi = {*std::max_element(hi.begin(), hi.end())};
  }
  return {};
}

void store_grids(const IntGrids& grids, QTensor& tensor) {
  assert(grids.grids.size() * float_size(grids.spec.scale_type) == tensor.owned_scales.size());
  for (std::size_t i = 0; i < grids.grids.size(); ++i) {
    store_float(grids.spec.scale_type, tensor.owned_scales.data(), std::int64_t(i),
                grids.grids[i].scale);
    if (!grids.spec.symmetric)
      tensor.owned_zeros[i] = std::byte(grids.grids[i].zero);
  }
}

Result<MethodOutput> pack_int(const MethodInput& input, const IntGrids& grids) {
  MethodOutput output = empty_output(input);
  store_grids(grids, output.tensor);
  TRY(input.compute.quantize_int(input.weight, grids.spec, grids.grids, output.tensor.owned_codes,
                                 &input.feedback));
  note_clamped(input, grids.clamped, output);
  return output;
}

} // namespace bitlathe
