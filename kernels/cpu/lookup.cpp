// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/families.h"
#include "kernels/cpu/simd.h"

namespace bitlathe::cpu::BITLATHE_ISA {

namespace {

/// Sixteen entries, held in registers.
struct Table16 {
#if defined(__AVX512F__)
  __m512 all;
  BITLATHE_INLINE Table16 of(const float* t) { return {_mm512_loadu_ps(t)}; }
  BITLATHE_INLINE F at(const Table16& t, I code) { return {_mm512_permutexvar_ps(code.v, t.all)}; }
#else
  __m256 low, high;
  BITLATHE_INLINE Table16 of(const float* t) {
    return {_mm256_loadu_ps(t), _mm256_loadu_ps(t + 8)};
  }
  BITLATHE_INLINE __m256 half(const Table16& t, __m256i code) {
    const __m256 pick_high = _mm256_castsi256_ps(_mm256_slli_epi32(code, 28)); // bit 3 to the sign
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(t.low, code),
                            _mm256_permutevar8x32_ps(t.high, code), pick_high);
  }
  BITLATHE_INLINE F at(const Table16& t, I code) { return {half(t, code.a), half(t, code.b)}; }
#endif
};

/// +1 in the lanes where x is above the threshold.
BITLATHE_INLINE I add_above(I count, F x, F threshold) {
#if defined(__AVX512F__)
  const __mmask16 above = _mm512_cmp_ps_mask(x.v, threshold.v, _CMP_GT_OQ);
  return {_mm512_mask_add_epi32(count.v, above, count.v, _mm512_set1_epi32(1))};
#else
  const auto above = [](__m256 a, __m256 b) {
    return _mm256_castps_si256(_mm256_cmp_ps(a, b, _CMP_GT_OQ));
  };
  return {_mm256_sub_epi32(count.a, above(x.a, threshold.a)),
          _mm256_sub_epi32(count.b, above(x.b, threshold.b))};
#endif
}

/// E4M3: exponent and mantissa to their places in f32, whose bias is 120 larger. Its subnormals are
/// those of f32 then. The one NaN apart.
BITLATHE_INLINE F from_e4m3(I code) {
  const I magnitude = code & set1i(0x7f), sign = shift_left(code & set1i(0x80), 24);
  const F value = as_f(shift_left(magnitude, 20)) * as_f(set1i((127 + 120) << 23));
  const unsigned nan = equal(to_f(magnitude), set1(127.0f));
  return as_f(as_i(select(nan, value, as_f(set1i(0x7fc00000)))) | sign);
}

/// E5M2 is the upper byte of an f16.
BITLATHE_INLINE F load_e5m2(const std::uint8_t* codes) {
  const __m256i wide = _mm256_slli_epi16(
      _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes))), 8);
  return load_f16(&wide);
}

BITLATHE_INLINE F gather(const float* table, I code) {
#if defined(__AVX512F__)
  return {_mm512_i32gather_ps(code.v, table, 4)};
#else
  return {_mm256_i32gather_ps(table, code.a, 4), _mm256_i32gather_ps(table, code.b, 4)};
#endif
}

} // namespace

void lookup(const std::uint8_t* codes, std::int64_t n, const float* table, int entries, float scale,
            float* out) {
  const F s = set1(scale);
  std::int64_t i = 0;
  if (entries <= 16) {
    float padded[16] = {};
    __builtin_memcpy(padded, table, std::size_t(entries) * 4);
    const Table16 t = Table16::of(padded);
    for (; i + width <= n; i += width)
      store(out + i, Table16::at(t, load_u8(codes + i)) * s);
  } else {
    for (; i + width <= n; i += width)
      store(out + i, gather(table, load_u8(codes + i)) * s);
  }
  for (; i < n; ++i)
    out[i] = table[codes[i]] * scale;
}

void count_above(const float* x, std::int64_t n, const float* thresholds, int count,
                 std::uint8_t* codes) {
  std::int64_t i = 0;
  for (; i + width <= n; i += width) {
    const F v = load(x + i);
    I code = set1i(0);
    for (int t = 0; t < count; ++t)
      code = add_above(code, v, set1(thresholds[t]));
    store_u8(codes + i, code);
  }
  for (; i < n; ++i) {
    int code = 0;
    for (int t = 0; t < count; ++t)
      code += x[i] > thresholds[t];
    codes[i] = std::uint8_t(code);
  }
}

void decode_f8(bool e5m2, const std::uint8_t* codes, std::int64_t n, float scale, float* out) {
  const F s = set1(scale);
  for (std::int64_t i = 0; i < n; i += width) {
    const bool whole = i + width <= n;
    std::uint8_t rest[width] = {};
    const std::uint8_t* from = codes + i;
    if (!whole) {
      __builtin_memcpy(rest, from, std::size_t(n - i));
      from = rest;
    }
    const F values = (e5m2 ? load_e5m2(from) : from_e4m3(load_u8(from))) * s;
    if (whole) {
      store(out + i, values);
    } else {
      float tail[width];
      store(tail, values);
      __builtin_memcpy(out + i, tail, std::size_t(n - i) * 4);
    }
  }
}

float gemv_table4(const std::uint8_t* codes, const float* x, std::int64_t n, std::int64_t group,
                  const float* table, const float* scales) {
  const Table16 t = Table16::of(table);
  const __m128i low = _mm_set1_epi8(15);
  F sum = zero_f();
  for (std::int64_t begin = 0; begin < n; begin += group) {
    const std::int64_t end = begin + group < n ? begin + group : n;
    F even = zero_f(), odd = zero_f();
    std::int64_t i = begin;
    for (; i + 32 <= end; i += 32) {
      const __m128i p = _mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + i / 2));
      const __m128i a = _mm_and_si128(p, low), b = _mm_and_si128(_mm_srli_epi16(p, 4), low);
      even = fma(Table16::at(t, lanes_u8(_mm_unpacklo_epi8(a, b))), load(x + i), even);
      odd = fma(Table16::at(t, lanes_u8(_mm_unpackhi_epi8(a, b))), load(x + i + 16), odd);
    }
    const bool ragged = i < end;
    float rest = 0;
    for (; i < end; ++i)
      rest += table[codes[i / 2] >> (i % 2 * 4) & 15] * x[i];
    const float scale = scales[begin / group];
    float first[width] = {};
    first[0] = rest;
    sum = fma(ragged ? even + odd + load(first) : even + odd, set1(scale), sum);
  }
  return sum_lanes(sum);
}

} // namespace bitlathe::cpu::BITLATHE_ISA
