// SPDX-License-Identifier: Apache-2.0
// What the grammars of scheme families share.
#pragma once

#include "core/schemes/scheme.h"

#include <charconv>

namespace bitlathe {

inline std::vector<std::string_view> split_id(std::string_view id) {
  std::vector<std::string_view> parts;
  for (std::size_t at = 0; at <= id.size();) {
    const auto end = std::min(id.find('-', at), id.size());
    parts.push_back(id.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

inline Error malformed_scheme(std::string_view id, std::string_view grammar) {
  return {"bad-argument",
          "Malformed scheme \"" + std::string(id) + "\"; the form is " + std::string(grammar),
          {}};
}

/// "g128" with the letter 'g': 128; 0 when it is not of that form.
inline std::int64_t lettered_number(std::string_view part, char letter) {
  std::int64_t number = 0;
  if (part.size() < 2 || part[0] != letter || part[1] == '0')
    return 0;
  const auto [end, problem] = std::from_chars(part.data() + 1, part.data() + part.size(), number);
  return problem == std::errc{} && end == part.data() + part.size() && number <= (1 << 24) ? number
                                                                                           : 0;
}

/// Takes "sbf16", "sf32" or "sf16" off the end and sets the type of the scales. The canonical
/// spelling leaves the usual type (`standard`) out: `scheme.id` is cut.
inline void take_scale_type(std::vector<std::string_view>& parts, FloatType standard,
                            Scheme& scheme) {
  scheme.float_type = standard;
  const std::string_view last = parts.back();
  if (last == "sbf16")
    scheme.float_type = FloatType::bf16;
  else if (last == "sf32")
    scheme.float_type = FloatType::f32;
  else if (last == "sf16")
    scheme.float_type = FloatType::f16;
  else
    return;
  parts.pop_back();
  if (scheme.float_type == standard)
    scheme.id.resize(scheme.id.size() - last.size() - 1);
}

} // namespace bitlathe
