// SPDX-License-Identifier: Apache-2.0
// Scales as they are stored.
#pragma once

#include "kernels/matrix.h"

namespace bitlathe {

/// `scale` rounded to its stored type. Where that would be 0 or infinite, it is the smallest normal
/// or the largest finite value instead, and `clamped` (if given) is set.
float stored_scale(float scale, FloatType type, bool* clamped = nullptr);

} // namespace bitlathe
