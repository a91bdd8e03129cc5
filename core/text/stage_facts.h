// SPDX-License-Identifier: Apache-2.0
// Members of stages that the parsers have accepted: absent and null mean the default.
#pragma once

#include "core/base/json.h"

namespace bitlathe::text {

inline std::string text_of(const Json& stage, const char* key, std::string_view otherwise = {}) {
  const auto it = stage.find(key);
  return it != stage.end() && it->is_string() ? it->get<std::string>() : std::string(otherwise);
}

inline bool flag_of(const Json& stage, const char* key, bool otherwise) {
  const auto it = stage.find(key);
  return it != stage.end() && it->is_boolean() ? it->get<bool>() : otherwise;
}

} // namespace bitlathe::text
