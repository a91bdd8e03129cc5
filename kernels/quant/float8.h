// SPDX-License-Identifier: Apache-2.0
// Codes of 8-bit floats with a scale, in the form of kernels/layouts/float8.h.
#pragma once

#include "kernels/quant/dither.h"

namespace bitlathe {

constexpr float largest_e4m3 = 448.0f, largest_e5m2 = 57344.0f;

struct Float8Spec {
  bool e5m2 = false;
  std::int64_t group = 0;      ///< columns of a tile; 0: all
  std::int64_t group_rows = 1; ///< rows of a tile
  bool per_tensor = false;
};

/// code = nearest(w / scale), saturating; `scales` are one per tile, as stored.
Result<void> quantize_float8(const FloatView& w, const Float8Spec& spec,
                             std::span<const float> scales, const Dither& dither,
                             std::span<std::byte> codes, const Feedback* feedback);

} // namespace bitlathe
