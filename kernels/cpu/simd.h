// SPDX-License-Identifier: Apache-2.0
// Sixteen f32 or i32 lanes on AVX2 (two registers) or AVX-512 (one), with the few operations the
// kernels need. Included only by sources compiled with the flags of one instruction set, which must
// not include the standard library: an inline function of it compiled here could replace the copy
// that old processors run. Everything sits in an unnamed namespace for the same reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <immintrin.h>

#define BITLATHE_INLINE static inline __attribute__((always_inline))

namespace bitlathe::cpu {
namespace {

constexpr int width = 16;

#if defined(__AVX512F__)

struct F {
  __m512 v;
};
struct I {
  __m512i v;
};

BITLATHE_INLINE F load(const float* p) { return {_mm512_loadu_ps(p)}; }
BITLATHE_INLINE void store(float* p, F a) { _mm512_storeu_ps(p, a.v); }
BITLATHE_INLINE F set1(float a) { return {_mm512_set1_ps(a)}; }
BITLATHE_INLINE F operator+(F a, F b) { return {_mm512_add_ps(a.v, b.v)}; }
BITLATHE_INLINE F operator-(F a, F b) { return {_mm512_sub_ps(a.v, b.v)}; }
BITLATHE_INLINE F operator*(F a, F b) { return {_mm512_mul_ps(a.v, b.v)}; }
BITLATHE_INLINE F operator/(F a, F b) { return {_mm512_div_ps(a.v, b.v)}; }
/// a < b ? a : b; b where one is NaN.
BITLATHE_INLINE F min(F a, F b) { return {_mm512_min_ps(a.v, b.v)}; }
BITLATHE_INLINE F max(F a, F b) { return {_mm512_max_ps(a.v, b.v)}; }
BITLATHE_INLINE F fma(F a, F b, F c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
BITLATHE_INLINE F abs(F a) { return {_mm512_abs_ps(a.v)}; }
BITLATHE_INLINE unsigned less_equal(F a, F b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ); }
BITLATHE_INLINE unsigned equal(F a, F b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ); }
BITLATHE_INLINE unsigned not_nan(F a) { return _mm512_cmp_ps_mask(a.v, a.v, _CMP_ORD_Q); }

BITLATHE_INLINE I set1i(int a) { return {_mm512_set1_epi32(a)}; }
BITLATHE_INLINE I operator+(I a, I b) { return {_mm512_add_epi32(a.v, b.v)}; }
BITLATHE_INLINE I operator-(I a, I b) { return {_mm512_sub_epi32(a.v, b.v)}; }
BITLATHE_INLINE I min(I a, I b) { return {_mm512_min_epi32(a.v, b.v)}; }
BITLATHE_INLINE I max(I a, I b) { return {_mm512_max_epi32(a.v, b.v)}; }
BITLATHE_INLINE I round_i(F a) { return {_mm512_cvtps_epi32(a.v)}; }
BITLATHE_INLINE I trunc_i(F a) { return {_mm512_cvttps_epi32(a.v)}; }
BITLATHE_INLINE F to_f(I a) { return {_mm512_cvtepi32_ps(a.v)}; }
BITLATHE_INLINE I shift_left(I a, int n) { return {_mm512_slli_epi32(a.v, unsigned(n))}; }
BITLATHE_INLINE I shift_right(I a, int n) { return {_mm512_srli_epi32(a.v, unsigned(n))}; }
BITLATHE_INLINE I operator&(I a, I b) { return {_mm512_and_si512(a.v, b.v)}; }
BITLATHE_INLINE I operator|(I a, I b) { return {_mm512_or_si512(a.v, b.v)}; }
BITLATHE_INLINE I lanes_u8(__m128i x) { return {_mm512_cvtepu8_epi32(x)}; }
BITLATHE_INLINE I lanes_i8(__m128i x) { return {_mm512_cvtepi8_epi32(x)}; }
BITLATHE_INLINE F as_f(I a) { return {_mm512_castsi512_ps(a.v)}; }
BITLATHE_INLINE I as_i(F a) { return {_mm512_castps_si512(a.v)}; }
BITLATHE_INLINE I load_i(const std::int32_t* p) { return {_mm512_loadu_si512(p)}; }
BITLATHE_INLINE void store_i(std::int32_t* p, I a) { _mm512_storeu_si512(p, a.v); }
/// b where the mask bit is set, else a.
BITLATHE_INLINE I select(unsigned mask, I a, I b) {
  return {_mm512_mask_blend_epi32(__mmask16(mask), a.v, b.v)};
}
BITLATHE_INLINE F select(unsigned mask, F a, F b) {
  return {_mm512_mask_blend_ps(__mmask16(mask), a.v, b.v)};
}
BITLATHE_INLINE I load_u8(const std::uint8_t* p) {
  return {_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
BITLATHE_INLINE I load_i8(const std::uint8_t* p) {
  return {_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
/// The low byte of every lane.
BITLATHE_INLINE __m128i low_bytes(I a) { return _mm512_cvtepi32_epi8(a.v); }
BITLATHE_INLINE F load_f16(const void* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)))};
}
BITLATHE_INLINE F load_bf16(const void* p) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(
      _mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(p))), 16))};
}
BITLATHE_INLINE void store_f16(void* p, F a) {
  _mm256_storeu_si256(static_cast<__m256i*>(p),
                      _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
BITLATHE_INLINE void store_bf16(void* p, F a) {
  const __m512i u = _mm512_castps_si512(a.v), top = _mm512_srli_epi32(u, 16);
  const __m512i odd = _mm512_and_si512(top, _mm512_set1_epi32(1));
  const __m512i rounded =
      _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd), 16);
  const __m512i quiet = _mm512_or_si512(top, _mm512_set1_epi32(0x40));
  const __mmask16 nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
  _mm256_storeu_si256(static_cast<__m256i*>(p),
                      _mm512_cvtepi32_epi16(_mm512_mask_blend_epi32(nan, rounded, quiet)));
}

#else

struct F {
  __m256 a, b;
};
struct I {
  __m256i a, b;
};

BITLATHE_INLINE F load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
BITLATHE_INLINE void store(float* p, F x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
BITLATHE_INLINE F set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
BITLATHE_INLINE F operator+(F x, F y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
BITLATHE_INLINE F operator-(F x, F y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
BITLATHE_INLINE F operator*(F x, F y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
BITLATHE_INLINE F operator/(F x, F y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
/// x < y ? x : y; y where one is NaN.
BITLATHE_INLINE F min(F x, F y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
BITLATHE_INLINE F max(F x, F y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
BITLATHE_INLINE F fma(F x, F y, F z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
BITLATHE_INLINE F abs(F x) {
  const __m256 mask = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  return {_mm256_and_ps(x.a, mask), _mm256_and_ps(x.b, mask)};
}
BITLATHE_INLINE unsigned bits_of(__m256 a, __m256 b) {
  return unsigned(_mm256_movemask_ps(a)) | unsigned(_mm256_movemask_ps(b)) << 8;
}
BITLATHE_INLINE unsigned less_equal(F x, F y) {
  return bits_of(_mm256_cmp_ps(x.a, y.a, _CMP_LE_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_LE_OQ));
}
BITLATHE_INLINE unsigned equal(F x, F y) {
  return bits_of(_mm256_cmp_ps(x.a, y.a, _CMP_EQ_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_EQ_OQ));
}
BITLATHE_INLINE unsigned not_nan(F x) {
  return bits_of(_mm256_cmp_ps(x.a, x.a, _CMP_ORD_Q), _mm256_cmp_ps(x.b, x.b, _CMP_ORD_Q));
}

BITLATHE_INLINE I set1i(int x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
BITLATHE_INLINE I operator+(I x, I y) {
  return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)};
}
BITLATHE_INLINE I operator-(I x, I y) {
  return {_mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)};
}
BITLATHE_INLINE I min(I x, I y) { return {_mm256_min_epi32(x.a, y.a), _mm256_min_epi32(x.b, y.b)}; }
BITLATHE_INLINE I max(I x, I y) { return {_mm256_max_epi32(x.a, y.a), _mm256_max_epi32(x.b, y.b)}; }
BITLATHE_INLINE I round_i(F x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
BITLATHE_INLINE I trunc_i(F x) { return {_mm256_cvttps_epi32(x.a), _mm256_cvttps_epi32(x.b)}; }
BITLATHE_INLINE F to_f(I x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
BITLATHE_INLINE I shift_left(I x, int n) {
  return {_mm256_slli_epi32(x.a, n), _mm256_slli_epi32(x.b, n)};
}
BITLATHE_INLINE I shift_right(I x, int n) {
  return {_mm256_srli_epi32(x.a, n), _mm256_srli_epi32(x.b, n)};
}
BITLATHE_INLINE I operator&(I x, I y) {
  return {_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)};
}
BITLATHE_INLINE I operator|(I x, I y) {
  return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)};
}
BITLATHE_INLINE I lanes_u8(__m128i x) {
  return {_mm256_cvtepu8_epi32(x), _mm256_cvtepu8_epi32(_mm_srli_si128(x, 8))};
}
BITLATHE_INLINE I lanes_i8(__m128i x) {
  return {_mm256_cvtepi8_epi32(x), _mm256_cvtepi8_epi32(_mm_srli_si128(x, 8))};
}
BITLATHE_INLINE F as_f(I x) { return {_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)}; }
BITLATHE_INLINE I as_i(F x) { return {_mm256_castps_si256(x.a), _mm256_castps_si256(x.b)}; }
BITLATHE_INLINE I load_i(const std::int32_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 8))};
}
BITLATHE_INLINE void store_i(std::int32_t* p, I x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x.a);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 8), x.b);
}
BITLATHE_INLINE __m256i lanes_of(unsigned mask) {
  const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(int(mask)), bit), bit);
}
/// y where the mask bit is set, else x.
BITLATHE_INLINE I select(unsigned mask, I x, I y) {
  return {_mm256_blendv_epi8(x.a, y.a, lanes_of(mask & 255)),
          _mm256_blendv_epi8(x.b, y.b, lanes_of(mask >> 8))};
}
BITLATHE_INLINE F select(unsigned mask, F x, F y) {
  return {_mm256_blendv_ps(x.a, y.a, _mm256_castsi256_ps(lanes_of(mask & 255))),
          _mm256_blendv_ps(x.b, y.b, _mm256_castsi256_ps(lanes_of(mask >> 8)))};
}
BITLATHE_INLINE I load_u8(const std::uint8_t* p) {
  const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm256_cvtepu8_epi32(x), _mm256_cvtepu8_epi32(_mm_srli_si128(x, 8))};
}
BITLATHE_INLINE I load_i8(const std::uint8_t* p) {
  const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm256_cvtepi8_epi32(x), _mm256_cvtepi8_epi32(_mm_srli_si128(x, 8))};
}
/// The low byte of every lane; values -128 .. 255.
BITLATHE_INLINE __m128i low_bytes(I x) {
  const __m256i mask = _mm256_set1_epi32(255);
  const __m256i pairs =
      _mm256_packus_epi32(_mm256_and_si256(x.a, mask), _mm256_and_si256(x.b, mask));
  const __m256i ordered = _mm256_permute4x64_epi64(pairs, 0xd8);
  return _mm_packus_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
}
BITLATHE_INLINE F load_f16(const void* p) {
  const auto* q = static_cast<const __m128i*>(p);
  return {_mm256_cvtph_ps(_mm_loadu_si128(q)), _mm256_cvtph_ps(_mm_loadu_si128(q + 1))};
}
BITLATHE_INLINE __m256 widen_bf16(__m128i x) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
}
BITLATHE_INLINE F load_bf16(const void* p) {
  const auto* q = static_cast<const __m128i*>(p);
  return {widen_bf16(_mm_loadu_si128(q)), widen_bf16(_mm_loadu_si128(q + 1))};
}
BITLATHE_INLINE void store_f16(void* p, F x) {
  auto* q = static_cast<__m128i*>(p);
  constexpr int rounding = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  _mm_storeu_si128(q, _mm256_cvtps_ph(x.a, rounding));
  _mm_storeu_si128(q + 1, _mm256_cvtps_ph(x.b, rounding));
}
BITLATHE_INLINE __m256i narrow_bf16(__m256 x) {
  const __m256i u = _mm256_castps_si256(x), top = _mm256_srli_epi32(u, 16);
  const __m256i odd = _mm256_and_si256(top, _mm256_set1_epi32(1));
  const __m256i rounded =
      _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd), 16);
  const __m256i quiet = _mm256_or_si256(top, _mm256_set1_epi32(0x40));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  return _mm256_blendv_epi8(rounded, quiet, nan);
}
BITLATHE_INLINE void store_bf16(void* p, F x) {
  const __m256i pairs = _mm256_packus_epi32(narrow_bf16(x.a), narrow_bf16(x.b));
  _mm256_storeu_si256(static_cast<__m256i*>(p), _mm256_permute4x64_epi64(pairs, 0xd8));
}

#endif

/// The numbers 0 .. n-1 as template arguments. Loops over registers are written as folds over them:
/// a loop that is unrolled late leaves an array of registers in memory.
template <int... i> struct Numbers {};
template <int n, int... i> struct Count : Count<n - 1, n - 1, i...> {};
template <int... i> struct Count<0, i...> { using Type = Numbers<i...>; };
template <int n> using UpTo = typename Count<n>::Type;

BITLATHE_INLINE F zero_f() { return set1(0.0f); }
BITLATHE_INLINE void store_u8(std::uint8_t* p, I a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), low_bytes(a));
}

BITLATHE_INLINE float half_to_f32(const std::uint8_t* p) {
  return _cvtsh_ss(std::uint16_t(p[0] | p[1] << 8));
}
BITLATHE_INLINE void put_half(std::uint8_t* p, float value) {
  const unsigned half = _cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  p[0] = std::uint8_t(half);
  p[1] = std::uint8_t(half >> 8);
}

/// Any-order reductions; for sums only in products, where the order may differ.
BITLATHE_INLINE float sum_lanes(F x) {
#if defined(__AVX512F__)
  const __m256 s = _mm256_add_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1));
#else
  const __m256 s = _mm256_add_ps(x.a, x.b);
#endif
  __m128 t = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  t = _mm_add_ps(t, _mm_movehl_ps(t, t));
  return _mm_cvtss_f32(_mm_add_ss(t, _mm_shuffle_ps(t, t, 1)));
}
BITLATHE_INLINE float max_lanes(F x) {
#if defined(__AVX512F__)
  const __m256 s = _mm256_max_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1));
#else
  const __m256 s = _mm256_max_ps(x.a, x.b);
#endif
  __m128 t = _mm_max_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  t = _mm_max_ps(t, _mm_movehl_ps(t, t));
  return _mm_cvtss_f32(_mm_max_ss(t, _mm_shuffle_ps(t, t, 1)));
}
BITLATHE_INLINE float min_lanes(F x) { return -max_lanes(zero_f() - x); }

} // namespace
} // namespace bitlathe::cpu
