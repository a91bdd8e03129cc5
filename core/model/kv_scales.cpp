// SPDX-License-Identifier: Apache-2.0
#include "core/model/kv_scales.h"

#include <cmath>

namespace bitlathe {

Result<std::vector<std::array<float, 2>>> kv_scales_from_json(const Json& json,
                                                              const std::string& where) {
  const Error bad{"bad-file", "\"kv_scales\" must hold a pair of numbers above 0 per layer", where};
  std::vector<std::array<float, 2>> out;
  if (json.is_null())
    return out;
  if (!json.is_array())
    return bad;
  for (const Json& pair : json) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_number() || !pair[1].is_number())
      return bad;
    const std::array<float, 2> scales{pair[0].get<float>(), pair[1].get<float>()};
    for (const float scale : scales)
      if (!(scale > 0) || !std::isfinite(scale))
        return bad;
    out.push_back(scales);
  }
  return out;
}

} // namespace bitlathe
