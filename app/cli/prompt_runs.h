// SPDX-License-Identifier: GPL-3.0-or-later
// A set of prompts on several models side by side: `generate MODEL... --prompts FILE`.
#pragma once

#include "app/cli/verb.h"
#include "core/engine/engine.h"

namespace bitlathe {

/// Runs the set with the sampling of `options`; with -o every finished prompt is kept at once, and
/// --resume leaves out those that the file has already.
Result<OrderedJson> run_prompt_set(Invocation& invocation, const GenerateOptions& options,
                                   const EngineOptions& run_options);
void show_prompt_set(const OrderedJson& json, std::ostream& out);

} // namespace bitlathe
