// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/families.h"
#include "kernels/cpu/simd.h"

namespace bitlathe::cpu::BITLATHE_ISA {

namespace {

/// NaN fails the first comparison and becomes -512, so code 0.
BITLATHE_INLINE I encode_16(F x, F inverse, I zero, I top) {
  const F scaled = min(max(x * inverse, set1(-512.0f)), set1(512.0f));
  return min(max(round_i(scaled) + zero, set1i(0)), top);
}

/// Every code of 8 in its own byte <-> 8 * bits dense bits.
BITLATHE_INLINE std::uint64_t spread_mask(int bits) {
  return 0x0101010101010101ull * ((1ull << bits) - 1);
}

} // namespace

void encode(const float* x, std::int64_t n, float inverse, int zero, int bits, std::uint8_t* out) {
  const F r = set1(inverse);
  const I z = set1i(zero), top = set1i((1 << bits) - 1);
  std::int64_t i = 0;
  for (; i + width <= n; i += width)
    store_u8(out + i, encode_16(load(x + i), r, z, top));
  if (i < n) {
    alignas(64) float tail[width] = {};
    alignas(16) std::uint8_t codes[width];
    __builtin_memcpy(tail, x + i, std::size_t(n - i) * 4);
    store_u8(codes, encode_16(load(tail), r, z, top));
    __builtin_memcpy(out + i, codes, std::size_t(n - i));
  }
}

void pack(const std::uint8_t* codes, std::int64_t n, int bits, std::uint8_t* out) {
  const std::int64_t bytes = (n * bits + 31) / 32 * 4;
  std::int64_t i = 0, at = 0;
  if (bits == 8) {
    __builtin_memcpy(out, codes, std::size_t(n));
    i = at = n;
  } else if (bits == 4) {
    const __m256i factors = _mm256_set1_epi16(0x1001); // low nibble + 16 * high nibble
    for (; i + 32 <= n; i += 32, at += 16) {
      const __m256i c = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + i));
      const __m256i pairs = _mm256_maddubs_epi16(c, factors);
      const __m256i bytes16 = _mm256_permute4x64_epi64(_mm256_packus_epi16(pairs, pairs), 0x08);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + at), _mm256_castsi256_si128(bytes16));
    }
  }
  const std::uint64_t mask = spread_mask(bits);
  for (; i + 8 <= n; i += 8, at += bits) {
    std::uint64_t eight;
    __builtin_memcpy(&eight, codes + i, 8);
    const std::uint64_t dense = _pext_u64(eight, mask);
    __builtin_memcpy(out + at, &dense, std::size_t(bits));
  }
  std::uint64_t rest = 0;
  for (int have = 0; i < n; ++i, have += bits)
    rest |= std::uint64_t(codes[i]) << have;
  for (; at < bytes; rest >>= 8)
    out[at++] = std::uint8_t(rest);
}

void unpack(const std::uint8_t* row, std::int64_t row_bytes, int bits, std::int64_t first,
            std::int64_t n, std::uint8_t* out) {
  if (bits == 8) {
    __builtin_memcpy(out, row + first, std::size_t(n));
    return;
  }
  const auto one = [&](std::int64_t i) {
    const std::int64_t bit = (first + i) * bits, byte = bit / 8;
    const unsigned high = byte + 1 < row_bytes ? row[byte + 1] : 0;
    out[i] = std::uint8_t(((row[byte] | high << 8) >> (bit % 8)) & ((1u << bits) - 1));
  };
  std::int64_t i = 0;
  for (; i < n && (first + i) % 8 != 0; ++i)
    one(i);
  std::int64_t at = (first + i) * bits / 8;
  if (bits == 4) {
    const __m128i low = _mm_set1_epi8(15);
    for (; i + 32 <= n; i += 32, at += 16) {
      const __m128i p = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + at));
      const __m128i even = _mm_and_si128(p, low);
      const __m128i odd = _mm_and_si128(_mm_srli_epi16(p, 4), low);
      auto* to = reinterpret_cast<__m128i*>(out + i);
      _mm_storeu_si128(to, _mm_unpacklo_epi8(even, odd));
      _mm_storeu_si128(to + 1, _mm_unpackhi_epi8(even, odd));
    }
  }
  const std::uint64_t mask = spread_mask(bits);
  for (; i + 8 <= n && at + 8 <= row_bytes; i += 8, at += bits) {
    std::uint64_t dense;
    __builtin_memcpy(&dense, row + at, 8);
    const std::uint64_t eight = _pdep_u64(dense, mask);
    __builtin_memcpy(out + i, &eight, 8);
  }
  for (; i < n; ++i)
    one(i);
}

void dequantize(const std::uint8_t* codes, std::int64_t n, float scale, int zero, float* out) {
  const F s = set1(scale);
  const I z = set1i(zero);
  std::int64_t i = 0;
  for (; i + width <= n; i += width)
    store(out + i, s * to_f(load_u8(codes + i) - z));
  for (; i < n; ++i)
    out[i] = scale * float(int(codes[i]) - zero);
}

void grid_errors(const float* x, const float* weight, std::int64_t n, const float* scale,
                 const float* inverse, const std::int32_t* zero, int bits, std::int64_t k,
                 double* out) {
  const I top = set1i((1 << bits) - 1);
  for (std::int64_t j = 0; j < k; j += width) { // one lane per grid keeps the column order
    const F s = load(scale + j), r = load(inverse + j);
    const I z = load_i(zero + j);
#if defined(__AVX512F__)
    __m512d low = _mm512_setzero_pd(), high = low;
    for (std::int64_t i = 0; i < n; ++i) {
      const F v = set1(x[i]), e = v - s * to_f(encode_16(v, r, z, top) - z);
      const __m512d a = _mm512_cvtps_pd(_mm512_castps512_ps256(e.v));
      const __m512d b = _mm512_cvtps_pd(_mm512_extractf32x8_ps(e.v, 1));
      __m512d a2 = _mm512_mul_pd(a, a), b2 = _mm512_mul_pd(b, b);
      if (weight) {
        const __m512d factor = _mm512_set1_pd(double(weight[i]));
        a2 = _mm512_mul_pd(factor, a2);
        b2 = _mm512_mul_pd(factor, b2);
      }
      low = _mm512_add_pd(low, a2);
      high = _mm512_add_pd(high, b2);
    }
    _mm512_storeu_pd(out + j, low);
    _mm512_storeu_pd(out + j + 8, high);
#else
    __m256d sum[4];
    for (__m256d& lane : sum)
      lane = _mm256_setzero_pd();
    for (std::int64_t i = 0; i < n; ++i) {
      const F v = set1(x[i]), e = v - s * to_f(encode_16(v, r, z, top) - z);
      __m256d square[4] = {_mm256_cvtps_pd(_mm256_castps256_ps128(e.a)),
                           _mm256_cvtps_pd(_mm256_extractf128_ps(e.a, 1)),
                           _mm256_cvtps_pd(_mm256_castps256_ps128(e.b)),
                           _mm256_cvtps_pd(_mm256_extractf128_ps(e.b, 1))};
      const __m256d factor = _mm256_set1_pd(weight ? double(weight[i]) : 1.0);
      for (int p = 0; p < 4; ++p) {
        square[p] = _mm256_mul_pd(square[p], square[p]);
        if (weight)
          square[p] = _mm256_mul_pd(factor, square[p]);
        sum[p] = _mm256_add_pd(sum[p], square[p]);
      }
    }
    for (int p = 0; p < 4; ++p)
      _mm256_storeu_pd(out + j + 4 * p, sum[p]);
#endif
  }
}

} // namespace bitlathe::cpu::BITLATHE_ISA
