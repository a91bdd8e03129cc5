// SPDX-License-Identifier: Apache-2.0
// 8-bit floats to and from f32. Encoding rounds to nearest even and saturates: what is too large,
// infinities included, becomes the largest finite value. NaN stays NaN. Subnormals are kept.
//   E4M3 ("FN"): bias 7, no infinities, largest 448, NaN 0x7f and 0xff.
//   E5M2:        bias 15, as IEEE (infinities and NaNs decode as such), largest finite 57344.
#pragma once

#include <bit>
#include <cstdint>

namespace bitlathe {

namespace float8_detail {

/// |f| to a float with `mantissa` bits and exponent bias `bias`, without limits at the top.
inline std::uint32_t round_magnitude(std::uint32_t magnitude, int mantissa, int bias) {
  const int exponent = int(magnitude >> 23) - 127;
  if (exponent < 1 - bias) { // subnormal: align to its step and let the f32 adder round
    const auto aligned = std::uint32_t(127 - bias + 1 - mantissa + 23) << 23;
    return std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) +
                                        std::bit_cast<float>(aligned)) -
           aligned;
  }
  const int drop = 23 - mantissa;
  const std::uint32_t odd = (magnitude >> drop) & 1u;
  const std::uint32_t half = (1u << (drop - 1)) - 1u;
  return ((magnitude + half + odd) >> drop) - (std::uint32_t(127 - bias) << mantissa);
}

inline float widen(std::uint32_t magnitude, int mantissa, int bias) {
  const std::uint32_t exponent = magnitude >> mantissa;
  const std::uint32_t fraction = magnitude & ((1u << mantissa) - 1u);
  if (exponent == 0) // fraction * 2^(1 - bias - mantissa)
    return float(fraction) * std::bit_cast<float>(std::uint32_t(127 + 1 - bias - mantissa) << 23);
  return std::bit_cast<float>(((exponent + std::uint32_t(127 - bias)) << 23) |
                              (fraction << (23 - mantissa)));
}

inline std::uint8_t encode(float f, int mantissa, int bias, std::uint32_t largest,
                           std::uint32_t nan) {
  const auto u = std::bit_cast<std::uint32_t>(f);
  const std::uint32_t sign = (u >> 24) & 0x80u, magnitude = u & 0x7fffffffu;
  if (magnitude > 0x7f800000u)
    return std::uint8_t(sign | nan);
  const std::uint32_t code = round_magnitude(magnitude, mantissa, bias);
  return std::uint8_t(sign | (code < largest ? code : largest));
}

} // namespace float8_detail

inline std::uint8_t f32_to_f8_e4m3(float f) { return float8_detail::encode(f, 3, 7, 0x7eu, 0x7fu); }
inline float f8_e4m3_to_f32(std::uint8_t h) {
  const std::uint32_t magnitude = h & 0x7fu;
  const float value = magnitude == 0x7fu ? std::bit_cast<float>(0x7fc00000u)
                                         : float8_detail::widen(magnitude, 3, 7);
  return h & 0x80u ? -value : value;
}

inline std::uint8_t f32_to_f8_e5m2(float f) {
  return float8_detail::encode(f, 2, 15, 0x7bu, 0x7eu);
}
inline float f8_e5m2_to_f32(std::uint8_t h) {
  const std::uint32_t magnitude = h & 0x7fu;
  const float value = magnitude > 0x7cu    ? std::bit_cast<float>(0x7fc00000u)
                      : magnitude == 0x7cu ? std::bit_cast<float>(0x7f800000u)
                                           : float8_detail::widen(magnitude, 2, 15);
  return h & 0x80u ? -value : value;
}

} // namespace bitlathe
