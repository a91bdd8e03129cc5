// SPDX-License-Identifier: Apache-2.0
// One product of the forward pass, with the inputs coded as the linear's activation scheme says.
// Internal to core/engine.
#pragma once

#include "core/engine/weights.h"

namespace bitlathe {

/// y[m][rows] = x[m][cols] W^T, without the bias. NaN and infinite inputs are counted; where inputs
/// are coded, a token that has such gets a row of NaN.
Result<void> run_linear(Compute& compute, const Linear& linear, const float* x, std::int64_t m,
                        float* y);

} // namespace bitlathe
