// SPDX-License-Identifier: Apache-2.0
// Static scales of keys and values as the project's own JSON files hold them.
#pragma once

#include "core/base/json.h"

#include <array>
#include <vector>

namespace bitlathe {

/// [[keys, values], ...] per layer; null: empty. Numbers that are no scales are an error.
Result<std::vector<std::array<float, 2>>> kv_scales_from_json(const Json& json,
                                                              const std::string& where);

} // namespace bitlathe
