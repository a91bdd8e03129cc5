// SPDX-License-Identifier: Apache-2.0
// Codes -1, 0, 1 times a scale.
#pragma once

#include "kernels/quant/dither.h"

namespace bitlathe {

/// The scale that brings the least sum of (weighted) squared errors when every value goes to the
/// nearest of -s, 0, s; BitNet b1.58's mean magnitude, made for training, is never better. `weight`
/// is empty or has an entry per value. 0 when all values are.
float ternary_scale(std::span<const float> values, std::span<const float> weight);

/// Codes in layout "int" with two bits, symmetric; `scales` [rows][groups], as stored.
Result<void> quantize_ternary(const FloatView& w, std::int64_t group, std::span<const float> scales,
                              const Dither& dither, std::span<std::byte> codes,
                              const Feedback* feedback);

} // namespace bitlathe
