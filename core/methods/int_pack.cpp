// SPDX-License-Identifier: Apache-2.0
#include "core/methods/int_pack.h"

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

Result<MethodOutput> pack_int(const MethodInput& input, const IntGrids& grids) {
  MethodOutput output;
  QTensor& tensor = output.tensor;
  tensor.scheme = input.scheme;
  tensor.rows = input.weight.rows;
  tensor.cols = input.weight.cols;
  const auto bytes = input.scheme.family->bytes(input.scheme, tensor.rows, tensor.cols);
  tensor.owned_codes.resize(bytes.codes);
  tensor.owned_scales.resize(bytes.scales);
  tensor.owned_zeros.resize(bytes.zeros);
  assert(grids.grids.size() * float_size(grids.spec.scale_type) == bytes.scales);
  for (std::size_t i = 0; i < grids.grids.size(); ++i) {
    store_float(grids.spec.scale_type, tensor.owned_scales.data(), std::int64_t(i),
                grids.grids[i].scale);
    if (!grids.spec.symmetric)
      tensor.owned_zeros[i] = std::byte(grids.grids[i].zero);
  }
  TRY(input.compute.quantize_int(input.weight, grids.spec, grids.grids, tensor.owned_codes,
                                 &input.feedback));
  tensor.own();
  if (grids.clamped > 0)
    output.notes.push_back(
        input.where + ": " + std::to_string(grids.clamped) +
        " scales do not fit their type and were set to its smallest or largest value");
  return output;
}

} // namespace bitlathe
