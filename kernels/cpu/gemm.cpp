// SPDX-License-Identifier: Apache-2.0
// The inner tile of blocked products: tokens along the lanes (packed panel), rows of weights
// broadcast. Weights are decoded row by row and need no transposing that way.
#include "kernels/cpu/families.h"
#include "kernels/cpu/simd.h"

namespace bitlathe::cpu::BITLATHE_ISA {

namespace {

constexpr int tokens = tile_tokens, most_rows = tile_rows;

#if defined(__AVX512F__)
using V = __m512;
BITLATHE_INLINE V get(const float* p) { return _mm512_loadu_ps(p); }
BITLATHE_INLINE void put(float* p, V a) { _mm512_storeu_ps(p, a); }
BITLATHE_INLINE V all(float a) { return _mm512_set1_ps(a); }
BITLATHE_INLINE V madd(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
#else
using V = __m256;
BITLATHE_INLINE V get(const float* p) { return _mm256_loadu_ps(p); }
BITLATHE_INLINE void put(float* p, V a) { _mm256_storeu_ps(p, a); }
BITLATHE_INLINE V all(float a) { return _mm256_set1_ps(a); }
BITLATHE_INLINE V madd(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
#endif

/// `half`: only the first half of the panel's tokens is wanted.
template <bool half, int... r>
BITLATHE_INLINE void tile_rows_of(Numbers<r...>, const float* panel, const float* w,
                                  std::int64_t stride, std::int64_t k, float* c) {
  V low[sizeof...(r)], high[sizeof...(r)];
  ((low[r] = get(c + r * tokens)), ...);
  if (!half)
    ((high[r] = get(c + r * tokens + tokens / 2)), ...);
  for (std::int64_t i = 0; i < k; ++i) {
    const V a = get(panel + i * tokens);
    if (half) {
      ((low[r] = madd(all(w[r * stride + i]), a, low[r])), ...);
    } else {
      const V b = get(panel + i * tokens + tokens / 2);
      const auto step = [&](V factor, V & x, V & y) __attribute__((always_inline)) {
        x = madd(factor, a, x);
        y = madd(factor, b, y);
      };
      (step(all(w[r * stride + i]), low[r], high[r]), ...);
    }
  }
  (put(c + r * tokens, low[r]), ...);
  if (!half)
    (put(c + r * tokens + tokens / 2, high[r]), ...);
}

template <int rows, bool half>
void tile(const float* panel, const float* w, std::int64_t stride, std::int64_t k, float* c) {
  tile_rows_of<half>(UpTo<rows>{}, panel, w, stride, k, c);
}

using Tile = void (*)(const float*, const float*, std::int64_t, std::int64_t, float*);

struct Tiles {
  Tile of[2][most_rows];
};
template <int... r> constexpr Tiles make_tiles(Numbers<r...>) {
  return {{{tile<r + 1, false>...}, {tile<r + 1, true>...}}};
}

} // namespace

void gemm_tile(const float* panel, const float* w, std::int64_t stride, std::int64_t k,
               std::int64_t rows, std::int64_t wanted_tokens, float* c) {
  static constexpr Tiles tiles = make_tiles(UpTo<most_rows>{});
  tiles.of[wanted_tokens <= tokens / 2][rows - 1](panel, w, stride, k, c);
}

} // namespace bitlathe::cpu::BITLATHE_ISA
