// SPDX-License-Identifier: Apache-2.0
// Whether a re-opened export holds what was to be exported, tensor by tensor.
#pragma once

#include "core/model/checkpoint.h"

namespace bitlathe {

/// Error "mismatch" naming the first tensor that differs. Weights of one scheme must have equal
/// bytes. Otherwise decoded values must be equal, after rounding to the float type where the
/// written weight is a float one.
Result<void> compare_checkpoints(const Checkpoint& wanted, const Checkpoint& written,
                                 Feedback& feedback);

} // namespace bitlathe
