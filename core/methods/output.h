// SPDX-License-Identifier: Apache-2.0
// What methods share when they make their tensors.
#pragma once

#include "core/methods/method.h"

namespace bitlathe {

/// A tensor of the scheme's shape with its buffers allocated, all zero, and spans that point there.
MethodOutput empty_output(const MethodInput& input);
/// A note when there are scales that their type cannot hold.
void note_clamped(const MethodInput& input, std::int64_t count, MethodOutput& output);

} // namespace bitlathe
