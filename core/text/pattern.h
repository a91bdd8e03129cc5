// SPDX-License-Identifier: Apache-2.0
// A "pattern" member of a tokenizer stage: {"String": literal} or {"Regex": expression}.
#pragma once

#include "core/base/json.h"
#include "core/text/regex.h"

#include <functional>

namespace bitlathe::text {

/// Cuts a text into what the pattern finds and what lies between.
using Cutter = std::function<std::vector<Span>(std::string_view)>;

Result<Cutter> parse_pattern(const Json& stage, const std::string& where);

std::string replaced(std::string_view text, const Cutter& pattern, const std::string& content);

} // namespace bitlathe::text
