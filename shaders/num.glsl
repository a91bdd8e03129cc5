// SPDX-License-Identifier: Apache-2.0
// Numbers, exactly: half and bfloat16 by integer operations, ordered keys, division that rounds to
// nearest even, sums in pairs of floats. CPU twins: kernels/num/float16.h and the operators of C++.
// Vulkan promises less of its own conversions, division and comparisons of subnormals.
#ifndef NUM_GLSL
#define NUM_GLSL

const uint F32 = 0u, F16 = 1u, BF16 = 2u; // FloatType in kernels/matrix.h

float from_f16(uint h) {
  const uint sign = (h & 0x8000u) << 16, exponent = (h >> 10) & 31u, mantissa = h & 0x3ffu;
  if (exponent == 31u)
    return uintBitsToFloat(sign | 0x7f800000u | (mantissa << 13) | (mantissa != 0u ? 0x400000u : 0u));
  if (exponent == 0u) // mantissa * 2^-24, a normal f32
    return uintBitsToFloat(sign | floatBitsToUint(float(mantissa) * 5.9604644775390625e-08));
  return uintBitsToFloat(sign | ((exponent + 112u) << 23) | (mantissa << 13));
}

float from_half(uint type, uint h) { return type == F16 ? from_f16(h) : uintBitsToFloat(h << 16); }

uint to_f16(float f) {
  const uint u = floatBitsToUint(f), sign = (u >> 16) & 0x8000u, a = u & 0x7fffffffu;
  if (a > 0x7f800000u)
    return sign | 0x7e00u | ((a >> 13) & 0x3ffu);
  if (a >= 0x477ff000u) // rounds past 65504
    return sign | 0x7c00u;
  if (a < 0x38800000u) { // a subnormal half, in units of 2^-24
    if (a <= 0x33000000u)
      return sign;
    const uint shift = 126u - (a >> 23), m = (a & 0x7fffffu) | 0x800000u;
    const uint q = m >> shift, rest = m & ((1u << shift) - 1u), tie = 1u << (shift - 1u);
    return sign | (q + uint(rest > tie || (rest == tie && (q & 1u) == 1u)));
  }
  return sign | ((a + 0xfffu + ((a >> 13) & 1u) - 0x38000000u) >> 13);
}

bool is_nan(uint bits) { return (bits & 0x7fffffffu) > 0x7f800000u; }
bool is_inf(uint bits) { return (bits & 0x7fffffffu) == 0x7f800000u; }

// Unsigned order of keys is the order of the floats; subnormals are not flushed on the way.
uint ordered_key(uint bits) { return (bits & 0x80000000u) != 0u ? ~bits : bits | 0x80000000u; }
uint key_bits(uint key) { return (key & 0x80000000u) != 0u ? key & 0x7fffffffu : ~key; }
const uint KEY_LAST = 0xffffffffu, KEY_FIRST = 0u;

// a / b rounded to nearest even, subnormals included; finite a, finite b != 0.
float divide_rne(float numerator, float denominator) {
  const uint ua = floatBitsToUint(numerator), ub = floatBitsToUint(denominator);
  const uint sign = (ua ^ ub) & 0x80000000u;
  int ea = int((ua >> 23) & 255u), eb = int((ub >> 23) & 255u);
  uint ma = ua & 0x7fffffu, mb = ub & 0x7fffffu;
  if (ea == 0 && ma == 0u)
    return uintBitsToFloat(sign);
  if (ea == 0) {
    const int up = 23 - findMSB(ma);
    ma <<= up;
    ea = 1 - up;
  } else {
    ma |= 0x800000u;
  }
  if (eb == 0) {
    const int up = 23 - findMSB(mb);
    mb <<= up;
    eb = 1 - up;
  } else {
    mb |= 0x800000u;
  }
  int e = ea - eb + 127;
  if (ma < mb) {
    ma <<= 1;
    --e;
  }
  // 26 bits of quotient by long division: 24 of mantissa, two for rounding, the rest is sticky.
  uint q = 0u, rest = ma;
  for (int i = 0; i < 26; ++i) {
    q <<= 1;
    if (rest >= mb) {
      rest -= mb;
      q |= 1u;
    }
    rest <<= 1;
  }
  if (e >= 255)
    return uintBitsToFloat(sign | 0x7f800000u);
  const int drop = 2 + (e <= 0 ? min(1 - e, 25) : 0);
  uint kept = drop > 26 ? 0u : q >> drop;
  const uint below = q & ((1u << drop) - 1u), tie = 1u << (drop - 1);
  if (below > tie || (below == tie && (rest != 0u || (kept & 1u) == 1u)))
    ++kept;
  // A carry out of the mantissa moves into the exponent by itself.
  return uintBitsToFloat(sign | (e <= 0 ? kept : (uint(e - 1) << 23) + kept));
}

// s.x + s.y is the sum so far, s.y what s.x could not hold.
void add_to(inout vec2 s, float x) {
  precise float t = s.x + x;
  precise float b = t - s.x;
  precise float lost = (s.x - (t - b)) + (x - b);
  precise float low = s.y + lost;
  s = vec2(t, low);
}
void add_pair(inout vec2 s, vec2 other) {
  add_to(s, other.x);
  precise float low = s.y + other.y;
  s.y = low;
}

#endif
