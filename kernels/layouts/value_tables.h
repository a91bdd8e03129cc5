// SPDX-License-Identifier: Apache-2.0
// What small codes stand for in several types.
#pragma once

#include <cmath>
#include <cstdint>

namespace bitlathe {

/// iq4_nl and iq4_xs
constexpr std::int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                        1,    13,   25,  38,  53,  69,  89,  113};
/// E2M1 (sign, two exponent bits, one mantissa bit) times two
constexpr std::int8_t e2m1_doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/// Half of an unsigned E4M3 number: the top bit does not count, and NaN is 0.
inline float nvfp4_scale(std::uint8_t code) {
  const int exponent = code >> 3 & 15, mantissa = code & 7;
  if (code == 0x7f)
    return 0;
  return exponent == 0 ? std::ldexp(float(mantissa), -10)
                       : std::ldexp(float(8 + mantissa), exponent - 11);
}

/// Digit n of a tq1_0 byte, which is the fraction 0.d0 d1 d2 d3 d4 to base 3, in 256ths.
inline int tq1_digit(std::uint8_t byte, int n) {
  constexpr std::uint8_t power[] = {1, 3, 9, 27, 81};
  return std::uint8_t(byte * power[n]) * 3 >> 8;
}

} // namespace bitlathe
