// SPDX-License-Identifier: Apache-2.0
// The checkpoint that a plan will make, without its values: everything an exporter asks for to
// describe its files is there, in the right sizes.
#pragma once

#include "core/recipe/plan.h"

namespace bitlathe {

/// Weights that the plan codes anew are zeros, in a mapping that takes no memory; all else is seen
/// as it is. `model` must stay alive.
Result<std::shared_ptr<const Checkpoint>> phantom_checkpoint(const Checkpoint& model,
                                                             const Plan& plan);

} // namespace bitlathe
