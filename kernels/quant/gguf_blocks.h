// SPDX-License-Identifier: Apache-2.0
// What is known of the encoders of GGUF blocks besides their bytes.
#pragma once

#include "kernels/compute/compute.h"

namespace bitlathe {

/// Whether the encoder of a layout looks at importance; the reference ignores it for some types.
bool block_encoder_weighs(std::string_view layout);

/// Blocks of `q` that decode to zeros although `w` holds other values there: their scales are too
/// small for the type. NaN counts as a value.
Result<std::int64_t> vanished_blocks(Compute& compute, const FloatView& w, const MatrixView& q,
                                     const Feedback* feedback = nullptr);

} // namespace bitlathe
