// SPDX-License-Identifier: Apache-2.0
// Values that four-bit codes stand for.
#pragma once

#include <cstdint>

namespace bitlathe {

/// iq4_nl and iq4_xs
constexpr std::int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                        1,    13,   25,  38,  53,  69,  89,  113};
/// E2M1 (sign, two exponent bits, one mantissa bit) times two
constexpr std::int8_t e2m1_doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

} // namespace bitlathe
