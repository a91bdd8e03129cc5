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

template <int rows>
void tile(const float* panel, const float* w, std::int64_t stride, std::int64_t k, float* c) {
  V sum[rows][2];
#pragma GCC unroll 12
  for (int r = 0; r < rows; ++r) {
    sum[r][0] = get(c + r * tokens);
    sum[r][1] = get(c + r * tokens + tokens / 2);
  }
  for (std::int64_t i = 0; i < k; ++i) {
    const V a = get(panel + i * tokens), b = get(panel + i * tokens + tokens / 2);
#pragma GCC unroll 12
    for (int r = 0; r < rows; ++r) {
      const V factor = all(w[r * stride + i]);
      sum[r][0] = madd(factor, a, sum[r][0]);
      sum[r][1] = madd(factor, b, sum[r][1]);
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < rows; ++r) {
    put(c + r * tokens, sum[r][0]);
    put(c + r * tokens + tokens / 2, sum[r][1]);
  }
}

using Tile = void (*)(const float*, const float*, std::int64_t, std::int64_t, float*);

} // namespace

void gemm_tile(const float* panel, const float* w, std::int64_t stride, std::int64_t k,
               std::int64_t rows, float* c) {
#if defined(__AVX512F__)
  static constexpr Tile tiles[most_rows] = {tile<1>, tile<2>,  tile<3>,  tile<4>,
                                            tile<5>, tile<6>,  tile<7>,  tile<8>,
                                            tile<9>, tile<10>, tile<11>, tile<12>};
#else
  static constexpr Tile tiles[most_rows] = {tile<1>, tile<2>, tile<3>, tile<4>, tile<5>, tile<6>};
#endif
  tiles[rows - 1](panel, w, stride, k, c);
}

} // namespace bitlathe::cpu::BITLATHE_ISA
