// SPDX-License-Identifier: Apache-2.0
// The twelve bytes of q4_k and q5_k that hold eight six-bit scales and eight six-bit minima.
#pragma once

#include <cstdint>

namespace bitlathe {

struct SixBits {
  int scale, minimum;
};
inline SixBits six_bits(const std::uint8_t* p, int s) {
  if (s < 4)
    return {p[s] & 63, p[s + 4] & 63};
  return {(p[s + 4] & 15) | (p[s - 4] >> 6) << 4, p[s + 4] >> 4 | (p[s] >> 6) << 4};
}

} // namespace bitlathe
