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

} // namespace bitlathe::cpu::BITLATHE_ISA
