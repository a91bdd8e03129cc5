// SPDX-License-Identifier: Apache-2.0
// Whether bytes are valid UTF-8: what JSON and file names of formats demand.
#pragma once

#include <cstddef>
#include <string_view>

namespace bitlathe {

/// No overlong forms, no surrogates, nothing above U+10FFFF.
inline bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i++]);
    if (c < 0x80)
      continue;
    const int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
    if (c < 0xc2 || c > 0xf4 || text.size() - i < std::size_t(more))
      return false;
    const auto second = static_cast<unsigned char>(text[i]);
    if ((c == 0xe0 && second < 0xa0) || (c == 0xed && second > 0x9f) ||
        (c == 0xf0 && second < 0x90) || (c == 0xf4 && second > 0x8f))
      return false;
    for (int k = 0; k < more; ++k)
      if ((static_cast<unsigned char>(text[i++]) & 0xc0) != 0x80)
        return false;
  }
  return true;
}

} // namespace bitlathe
