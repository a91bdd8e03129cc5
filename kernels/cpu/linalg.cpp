// SPDX-License-Identifier: Apache-2.0
// Double precision for factorizations. Products and differences are not fused and every element is
// worked on in the order of k, so that all instruction sets give the same numbers.
#include "kernels/cpu/families.h"
#include "kernels/cpu/simd.h"

namespace bitlathe::cpu::BITLATHE_ISA {

namespace {

#if defined(__AVX512F__)
constexpr int doubles = 8;
using D = __m512d;
BITLATHE_INLINE D get(const double* p) { return _mm512_loadu_pd(p); }
BITLATHE_INLINE void put(double* p, D a) { _mm512_storeu_pd(p, a); }
BITLATHE_INLINE D all(double a) { return _mm512_set1_pd(a); }
#else
constexpr int doubles = 4;
using D = __m256d;
BITLATHE_INLINE D get(const double* p) { return _mm256_loadu_pd(p); }
BITLATHE_INLINE void put(double* p, D a) { _mm256_storeu_pd(p, a); }
BITLATHE_INLINE D all(double a) { return _mm256_set1_pd(a); }
#endif

/// A tile of `rows` x 2 registers.
template <int... r>
BITLATHE_INLINE void tile(Numbers<r...>, double* w, std::int64_t w_stride, const double* e,
                          std::int64_t e_stride, const double* u, std::int64_t u_stride,
                          std::int64_t k) {
  D low[sizeof...(r)], high[sizeof...(r)];
  ((low[r] = get(w + r * w_stride), high[r] = get(w + r * w_stride + doubles)), ...);
  for (std::int64_t i = 0; i < k; ++i) {
    const D a = get(u + i * u_stride), b = get(u + i * u_stride + doubles);
    ((low[r] = low[r] - all(e[r * e_stride + i]) * a), ...);
    ((high[r] = high[r] - all(e[r * e_stride + i]) * b), ...);
  }
  ((put(w + r * w_stride, low[r]), put(w + r * w_stride + doubles, high[r])), ...);
}

template <int rows>
void row_tiles(double* w, std::int64_t w_stride, const double* e, std::int64_t e_stride,
               const double* u, std::int64_t u_stride, std::int64_t k, std::int64_t n) {
  std::int64_t j = 0;
  for (; j + 2 * doubles <= n; j += 2 * doubles)
    tile(UpTo<rows>{}, w + j, w_stride, e, e_stride, u + j, u_stride, k);
  for (; j < n; ++j)
    for (int r = 0; r < rows; ++r) {
      double sum = w[r * w_stride + j];
      for (std::int64_t i = 0; i < k; ++i)
        sum = sum - e[r * e_stride + i] * u[i * u_stride + j];
      w[r * w_stride + j] = sum;
    }
}

} // namespace

void subtract_product(double* w, std::int64_t w_stride, const double* e, std::int64_t e_stride,
                      const double* u, std::int64_t u_stride, std::int64_t rows, std::int64_t k,
                      std::int64_t n) {
  std::int64_t r = 0;
  for (; r + 8 <= rows; r += 8)
    row_tiles<8>(w + r * w_stride, w_stride, e + r * e_stride, e_stride, u, u_stride, k, n);
  for (; r < rows; ++r)
    row_tiles<1>(w + r * w_stride, w_stride, e + r * e_stride, e_stride, u, u_stride, k, n);
}

} // namespace bitlathe::cpu::BITLATHE_ISA
