// SPDX-License-Identifier: Apache-2.0
// Sixteen values side by side for the encoders of GGUF blocks: each lane works on a sub-block of
// its own, in the order that the format's reference takes its values, so that every instruction set
// (and plain C++, with BITLATHE_PLAIN) makes the same bytes. Nothing is fused.
#pragma once

#ifdef BITLATHE_PLAIN

#include "kernels/num/float16.h"

#include <cmath>

#define BITLATHE_INLINE static inline __attribute__((always_inline))

namespace bitlathe::cpu {
namespace {

constexpr int width = 16;

struct F {
  float v[width];
};
struct Mask {
  std::uint32_t v[width];
};

#define BITLATHE_EACH(Type, expression)                                                            \
  Type out;                                                                                        \
  for (int l = 0; l < width; ++l)                                                                  \
    out.v[l] = expression;                                                                         \
  return out

BITLATHE_INLINE F load(const float* p) { BITLATHE_EACH(F, p[l]); }
BITLATHE_INLINE void store(float* p, const F& a) {
  for (int l = 0; l < width; ++l)
    p[l] = a.v[l];
}
BITLATHE_INLINE F set1(float a) { BITLATHE_EACH(F, a); }
BITLATHE_INLINE F operator+(const F& a, const F& b) { BITLATHE_EACH(F, a.v[l] + b.v[l]); }
BITLATHE_INLINE F operator-(const F& a, const F& b) { BITLATHE_EACH(F, a.v[l] - b.v[l]); }
BITLATHE_INLINE F operator*(const F& a, const F& b) { BITLATHE_EACH(F, a.v[l] * b.v[l]); }
BITLATHE_INLINE F operator/(const F& a, const F& b) { BITLATHE_EACH(F, a.v[l] / b.v[l]); }
/// a < b ? a : b; b where one is NaN.
BITLATHE_INLINE F min(const F& a, const F& b) {
  BITLATHE_EACH(F, a.v[l] < b.v[l] ? a.v[l] : b.v[l]);
}
BITLATHE_INLINE F max(const F& a, const F& b) {
  BITLATHE_EACH(F, a.v[l] > b.v[l] ? a.v[l] : b.v[l]);
}
BITLATHE_INLINE F abs(const F& a) { BITLATHE_EACH(F, std::fabs(a.v[l])); }
BITLATHE_INLINE F root(const F& a) { BITLATHE_EACH(F, std::sqrt(a.v[l])); }
BITLATHE_INLINE Mask greater(const F& a, const F& b) { BITLATHE_EACH(Mask, a.v[l] > b.v[l]); }
/// True for NaN.
BITLATHE_INLINE Mask not_less(const F& a, const F& b) { BITLATHE_EACH(Mask, !(a.v[l] < b.v[l])); }
BITLATHE_INLINE Mask different(const F& a, const F& b) { BITLATHE_EACH(Mask, a.v[l] != b.v[l]); }
BITLATHE_INLINE Mask operator&(const Mask& a, const Mask& b) {
  BITLATHE_EACH(Mask, a.v[l] & b.v[l]);
}
BITLATHE_INLINE bool any(const Mask& a) {
  std::uint32_t found = 0;
  for (int l = 0; l < width; ++l)
    found |= a.v[l];
  return found != 0;
}
/// yes where the mask is set, else no.
BITLATHE_INLINE F blend(const Mask& m, const F& no, const F& yes) {
  BITLATHE_EACH(F, m.v[l] ? yes.v[l] : no.v[l]);
}
BITLATHE_INLINE F only(const Mask& m, const F& yes) { BITLATHE_EACH(F, m.v[l] ? yes.v[l] : 0.0f); }
/// Codes 0 .. 255 as bytes.
BITLATHE_INLINE void store_bytes(std::uint8_t* p, const F& a) {
  for (int l = 0; l < width; ++l)
    p[l] = std::uint8_t(a.v[l]);
}

#undef BITLATHE_EACH

BITLATHE_INLINE float root(float a) { return std::sqrt(a); }
BITLATHE_INLINE float half_to_f32(const std::uint8_t* p) {
  return f16_to_f32(std::uint16_t(p[0] | p[1] << 8));
}
BITLATHE_INLINE void put_half(std::uint8_t* p, float value) {
  const unsigned half = f32_to_f16(value);
  p[0] = std::uint8_t(half);
  p[1] = std::uint8_t(half >> 8);
}

} // namespace
} // namespace bitlathe::cpu

#else

#include "kernels/cpu/simd.h"

namespace bitlathe::cpu {
namespace {

#if defined(__AVX512F__)

struct Mask {
  __mmask16 v;
};
BITLATHE_INLINE F root(F a) { return {_mm512_sqrt_ps(a.v)}; }
BITLATHE_INLINE Mask greater(F a, F b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ)}; }
BITLATHE_INLINE Mask not_less(F a, F b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_NLT_UQ)}; }
BITLATHE_INLINE Mask different(F a, F b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_NEQ_UQ)}; }
BITLATHE_INLINE Mask operator&(Mask a, Mask b) { return {__mmask16(a.v & b.v)}; }
BITLATHE_INLINE bool any(Mask a) { return a.v != 0; }
BITLATHE_INLINE F blend(Mask m, F no, F yes) { return {_mm512_mask_blend_ps(m.v, no.v, yes.v)}; }
BITLATHE_INLINE F only(Mask m, F yes) { return {_mm512_maskz_mov_ps(m.v, yes.v)}; }

#else

struct Mask {
  __m256 a, b;
};
BITLATHE_INLINE F root(F x) { return {_mm256_sqrt_ps(x.a), _mm256_sqrt_ps(x.b)}; }
BITLATHE_INLINE Mask greater(F x, F y) {
  return {_mm256_cmp_ps(x.a, y.a, _CMP_GT_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_GT_OQ)};
}
BITLATHE_INLINE Mask not_less(F x, F y) {
  return {_mm256_cmp_ps(x.a, y.a, _CMP_NLT_UQ), _mm256_cmp_ps(x.b, y.b, _CMP_NLT_UQ)};
}
BITLATHE_INLINE Mask different(F x, F y) {
  return {_mm256_cmp_ps(x.a, y.a, _CMP_NEQ_UQ), _mm256_cmp_ps(x.b, y.b, _CMP_NEQ_UQ)};
}
BITLATHE_INLINE Mask operator&(Mask x, Mask y) {
  return {_mm256_and_ps(x.a, y.a), _mm256_and_ps(x.b, y.b)};
}
BITLATHE_INLINE bool any(Mask m) {
  return (_mm256_movemask_ps(m.a) | _mm256_movemask_ps(m.b)) != 0;
}
BITLATHE_INLINE F blend(Mask m, F no, F yes) {
  return {_mm256_blendv_ps(no.a, yes.a, m.a), _mm256_blendv_ps(no.b, yes.b, m.b)};
}
BITLATHE_INLINE F only(Mask m, F yes) {
  return {_mm256_and_ps(yes.a, m.a), _mm256_and_ps(yes.b, m.b)};
}

#endif

BITLATHE_INLINE void store_bytes(std::uint8_t* p, F a) { store_u8(p, trunc_i(a)); }
BITLATHE_INLINE float root(float a) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(a))); }

} // namespace
} // namespace bitlathe::cpu

#endif

namespace bitlathe::cpu {
namespace {

/// Groups whose largest magnitude is below this have no codes.
constexpr float nothing = 1e-15f;
constexpr float magic = 12582912.0f; // 1.5 * 2^23: adding it rounds to a whole number, ties to even

BITLATHE_INLINE F whole(F x) { return (x + set1(magic)) - set1(magic); }
/// low .. high, low for NaN.
BITLATHE_INLINE F limited(F x, float low, float high) { return min(max(x, set1(low)), set1(high)); }
BITLATHE_INLINE float whole(float x) {
  x = x < 4194303.0f ? x : 4194303.0f;
  x = x > -4194303.0f ? x : -4194303.0f;
  return (x + magic) - magic;
}
BITLATHE_INLINE float limited(float x, float low, float high) {
  x = x > low ? x : low;
  return x < high ? x : high;
}
BITLATHE_INLINE float magnitude(float x) { return x < 0 ? -x : x; }
/// As stored in two bytes.
BITLATHE_INLINE float stored_half(std::uint8_t* at, float value) {
  put_half(at, value);
  return half_to_f32(at);
}

} // namespace
} // namespace bitlathe::cpu
