// SPDX-License-Identifier: Apache-2.0
// Shared by methods that code on integer grids: ranges, grids, and the canonical tensor made from
// them.
#pragma once

#include "core/methods/method.h"

namespace bitlathe {

/// Grids chosen for a weight, and how many scales had to be clamped to what their type can hold.
struct IntGrids {
  IntSpec spec;
  std::vector<IntGrid> grids; ///< [rows][groups], or one when per tensor
  std::int64_t clamped = 0;
};

IntSpec int_spec(const Scheme& scheme, std::int64_t cols);

/// Exact minimum and maximum of every group (of the tensor when per_tensor). NaN and infinities are
/// an error that names the module.
Result<void> exact_ranges(const MethodInput& input, const IntSpec& spec, std::vector<float>& lo,
                          std::vector<float>& hi);

/// Scales and zero points into the tensor's buffers.
void store_grids(const IntGrids& grids, QTensor& tensor);

/// The canonical tensor: scales and zero points stored, all values coded.
Result<MethodOutput> pack_int(const MethodInput& input, const IntGrids& grids);

} // namespace bitlathe
