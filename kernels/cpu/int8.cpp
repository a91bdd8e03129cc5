// SPDX-License-Identifier: Apache-2.0
// Exact products of unsigned weight codes with signed activation codes. With VNNI four pairs of
// bytes per lane; without it two pairs of 16-bit numbers, because the byte instruction of older
// sets saturates its 16-bit sums.
#include "kernels/cpu/families.h"
#include "kernels/cpu/simd.h"

namespace bitlathe::cpu::BITLATHE_ISA {

namespace {

constexpr int tokens = tile_tokens, most_rows = tile_rows;
constexpr std::int64_t unit = int8_unit;
constexpr std::int64_t step = 4 / unit; ///< codes per 32-bit lane

#if defined(__AVX512F__)
using V = __m512;
using W = __m512i;
BITLATHE_INLINE W get(const void* p) { return _mm512_loadu_si512(p); }
BITLATHE_INLINE W all(std::int32_t a) { return _mm512_set1_epi32(a); }
BITLATHE_INLINE W none() { return _mm512_setzero_si512(); }
BITLATHE_INLINE W sub(W a, W b) { return _mm512_sub_epi32(a, b); }
BITLATHE_INLINE W mul(W a, W b) { return _mm512_mullo_epi32(a, b); }
BITLATHE_INLINE void scale_into(float* c, W dot, float scale) {
  _mm512_storeu_ps(c, _mm512_add_ps(_mm512_loadu_ps(c),
                                    _mm512_mul_ps(_mm512_set1_ps(scale), _mm512_cvtepi32_ps(dot))));
}
#if defined(__AVX512VNNI__)
BITLATHE_INLINE W dot4(W sum, W weights, W panel) {
  // By hand: around the intrinsic GCC 12 copies every sum to another register and to the stack.
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(weights), "v"(panel));
  return sum;
}
#else
BITLATHE_INLINE W dot4(W sum, W weights, W panel) {
  return _mm512_add_epi32(sum, _mm512_madd_epi16(weights, panel));
}
#endif
#else
using W = __m256i;
BITLATHE_INLINE W get(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
BITLATHE_INLINE W all(std::int32_t a) { return _mm256_set1_epi32(a); }
BITLATHE_INLINE W none() { return _mm256_setzero_si256(); }
BITLATHE_INLINE W sub(W a, W b) { return _mm256_sub_epi32(a, b); }
BITLATHE_INLINE W mul(W a, W b) { return _mm256_mullo_epi32(a, b); }
BITLATHE_INLINE void scale_into(float* c, W dot, float scale) {
  _mm256_storeu_ps(c, _mm256_add_ps(_mm256_loadu_ps(c),
                                    _mm256_mul_ps(_mm256_set1_ps(scale), _mm256_cvtepi32_ps(dot))));
}
BITLATHE_INLINE W dot4(W sum, W weights, W panel) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(weights, panel));
}
#endif

/// Four bytes of codes for every lane; memory gives no promise of alignment.
BITLATHE_INLINE W codes_at(const std::uint8_t* p) {
  std::int32_t codes;
  __builtin_memcpy(&codes, p, 4);
  return all(codes);
}

/// `half`: only the first half of the panel's tokens is wanted.
template <bool half, int... r>
BITLATHE_INLINE void tile_rows_of(Numbers<r...>, const std::uint8_t* panel, const std::uint8_t* w,
                                  std::int64_t stride, std::int64_t k, const float* scale,
                                  const std::int32_t* zero, const std::int32_t* sums, float* c) {
  W low[sizeof...(r)], high[sizeof...(r)];
  ((low[r] = none()), ...);
  ((high[r] = none()), ...);
  const std::int64_t row_bytes = stride * unit;
  for (std::int64_t i = 0; i < k / step; ++i, w += 4, panel += tokens * 4) {
    const W a = get(panel);
    if (half) {
      ((low[r] = dot4(low[r], codes_at(w + r * row_bytes), a)), ...);
    } else {
      const W b = get(panel + tokens * 2);
      const auto both = [&](W factor, W & x, W & y) __attribute__((always_inline)) {
        x = dot4(x, factor, a);
        y = dot4(y, factor, b);
      };
      (both(codes_at(w + r * row_bytes), low[r], high[r]), ...);
    }
  }
  const W first = get(sums), second = get(sums + tokens / 2);
  (scale_into(c + r * tokens, sub(low[r], mul(all(zero[r]), first)), scale[r]), ...);
  if (!half)
    (scale_into(c + r * tokens + tokens / 2, sub(high[r], mul(all(zero[r]), second)), scale[r]),
     ...);
}

template <int rows, bool half>
void tile(const std::uint8_t* panel, const std::uint8_t* w, std::int64_t stride, std::int64_t k,
          const float* scale, const std::int32_t* zero, const std::int32_t* sums, float* c) {
  tile_rows_of<half>(UpTo<rows>{}, panel, w, stride, k, scale, zero, sums, c);
}

using Tile = void (*)(const std::uint8_t*, const std::uint8_t*, std::int64_t, std::int64_t,
                      const float*, const std::int32_t*, const std::int32_t*, float*);

struct Tiles {
  Tile of[2][most_rows];
};
template <int... r> constexpr Tiles make_tiles(Numbers<r...>) {
  return {{{tile<r + 1, false>...}, {tile<r + 1, true>...}}};
}

} // namespace

void widen_u8(const std::uint8_t* codes, std::int64_t n, void* out) {
#if defined(__AVX512VNNI__)
  __builtin_memcpy(out, codes, std::size_t(n));
#else
  auto* to = static_cast<std::uint8_t*>(out);
  for (std::int64_t i = 0; i < n; i += 16)
    _mm256_storeu_si256(
        reinterpret_cast<__m256i*>(to + i * 2),
        _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + i))));
#endif
}

void gemm_int8_tile(const void* panel, const void* w, std::int64_t stride, std::int64_t k,
                    std::int64_t rows, std::int64_t wanted_tokens, const float* scale,
                    const std::int32_t* zero, const std::int32_t* sums, float* c) {
  static constexpr Tiles tiles = make_tiles(UpTo<most_rows>{});
  tiles.of[wanted_tokens <= tokens / 2][rows - 1](static_cast<const std::uint8_t*>(panel),
                                                  static_cast<const std::uint8_t*>(w), stride, k,
                                                  scale, zero, sums, c);
}

std::int32_t dot_u8s8(const std::uint8_t* a, const std::int8_t* b, std::int64_t n) {
  std::int64_t i = 0;
  std::int32_t total = 0;
#if defined(__AVX512VNNI__)
  __m512i sum = _mm512_setzero_si512();
  for (; i + 64 <= n; i += 64)
    sum = _mm512_dpbusd_epi32(sum, _mm512_loadu_si512(a + i), _mm512_loadu_si512(b + i));
  __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64(sum, 1));
#else
  __m256i half = _mm256_setzero_si256();
#endif
  for (; i + 16 <= n; i += 16) {
    const __m256i u =
        _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a + i)));
    const __m256i s =
        _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(b + i)));
    half = _mm256_add_epi32(half, _mm256_madd_epi16(u, s));
  }
  alignas(32) std::int32_t lane[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lane), half);
  for (const std::int32_t l : lane)
    total += l;
  for (; i < n; ++i)
    total += std::int32_t(a[i]) * b[i];
  return total;
}

float quantize_token(const float* x, std::int64_t n, std::int8_t* out) {
  F most = zero_f();
  unsigned good = 0xffff;
  std::int64_t i = 0;
  for (; i + width <= n; i += width) {
    const F v = load(x + i);
    good &= not_nan(v);
    most = max(abs(v), most);
  }
  bool nan = good != 0xffffu;
  float absmax = max_lanes(most);
  for (; i < n; ++i) {
    const float a = __builtin_fabsf(x[i]);
    nan = nan || a != a;
    absmax = a > absmax ? a : absmax;
  }
  const float s = absmax > 0.0f ? absmax / 127.0f : 1.0f;
  const F r = set1(1.0f / s), lowest = set1(-127.0f), highest = set1(127.0f);
  auto* codes = reinterpret_cast<std::uint8_t*>(out);
  for (i = 0; i < n; i += width) {
    const std::int64_t count = n - i < width ? n - i : width;
    alignas(64) float tail[width] = {};
    alignas(16) std::uint8_t bytes[width];
    __builtin_memcpy(tail, x + i, std::size_t(count) * 4);
    store_u8(bytes, round_i(min(max(load(tail) * r, lowest), highest)));
    __builtin_memcpy(codes + i, bytes, std::size_t(count));
  }
  return nan ? __builtin_nanf("") : s; // a NaN must not disappear in integers
}

} // namespace bitlathe::cpu::BITLATHE_ISA
