// SPDX-License-Identifier: Apache-2.0
// Codes of NF4 and FP4 as bitsandbytes makes them, in the form of kernels/layouts/blockwise.h.
#pragma once

#include "kernels/quant/dither.h"

namespace bitlathe {

struct BlockwiseSpec {
  bool fp4 = false;
  std::int64_t block = 64; ///< values of the flattened weight that share a scale
  FloatType scale_type = FloatType::f32;
  bool nested = false; ///< scales coded as well; they are f32 before that
};

/// Sizes as in SchemeFamily::bytes. The values are finite. `clamped` (if given) counts scales that
/// their type cannot hold.
Result<void> quantize_blockwise(const FloatView& w, const BlockwiseSpec& spec, const Dither& dither,
                                std::span<std::byte> codes, std::span<std::byte> scales,
                                std::span<std::byte> nested, std::int64_t* clamped,
                                const Feedback* feedback);

} // namespace bitlathe
