// SPDX-License-Identifier: Apache-2.0
// Ranges of the groups of a weight by an observer.
#pragma once

#include "core/methods/method.h"
#include "core/observers/observer.h"

namespace bitlathe {

/// Replaces lo and hi ([rows][groups], or one when per tensor) by what an observer that looks at
/// values chooses. With importance the squared errors it weighs count by column.
Result<void> observed_ranges(const MethodInput& input, const IntSpec& spec,
                             const Observer& observer, std::span<float> lo, std::span<float> hi);

} // namespace bitlathe
