// SPDX-License-Identifier: GPL-3.0-or-later
// The options of `quantize` that make a recipe, apart from what it does with it.
#pragma once

#include "app/cli/verb.h"
#include "core/recipe/recipe.h"

namespace bitlathe {

/// --recipe FILE, then --scheme, --method, --set, --exclude, --activations, --kv, --param,
/// --observer,
/// --calibration, --samples, --length and --seed on top of it.
Result<Recipe> recipe_from_options(const Invocation& invocation);

} // namespace bitlathe
