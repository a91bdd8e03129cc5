// SPDX-License-Identifier: Apache-2.0
// Two uses of one decoder. A block type is a struct with `columns`, `bytes` and
//   template <class Sink> static void each(const std::uint8_t* block, Sink& sink)
// that hands its values over sixteen at a time: sink.put<slot>(first column, values). Values are
// the exact ones of the layout (no fused multiply-add); the four slots are independent sums.
#pragma once

#include "kernels/cpu/simd.h"

namespace bitlathe::cpu {
namespace {

struct StoreSink {
  float* out;
  template <int> __attribute__((always_inline)) void put(int at, F v) { store(out + at, v); }
};

struct DotSink {
  const float* x;
  F a, b, c, d;
  template <int slot> __attribute__((always_inline)) void put(int at, F v) {
    F& sum = slot % 4 == 0 ? a : slot % 4 == 1 ? b : slot % 4 == 2 ? c : d;
    sum = fma(v, load(x + at), sum);
  }
};

template <class Type>
BITLATHE_INLINE void decode_all(const std::uint8_t* blocks, std::int64_t n, float* out) {
  for (std::int64_t i = 0; i < n; ++i) {
    StoreSink sink{out + i * Type::columns};
    Type::each(blocks + i * Type::bytes, sink);
  }
}

template <class Type>
BITLATHE_INLINE float dot_all(const std::uint8_t* blocks, const float* x, std::int64_t n) {
  DotSink sink{x, zero_f(), zero_f(), zero_f(), zero_f()};
  for (std::int64_t i = 0; i < n; ++i) {
    Type::each(blocks + i * Type::bytes, sink);
    sink.x += Type::columns;
  }
  return sum_lanes((sink.a + sink.b) + (sink.c + sink.d));
}

BITLATHE_INLINE __m128i bytes_16(const std::uint8_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}
BITLATHE_INLINE __m128i low_nibbles(__m128i p) { return _mm_and_si128(p, _mm_set1_epi8(15)); }
BITLATHE_INLINE __m128i high_nibbles(__m128i p) {
  return _mm_and_si128(_mm_srli_epi16(p, 4), _mm_set1_epi8(15));
}

/// The low nibbles of bytes in lanes. A table looks at the low four bits only: one instruction
/// instead of two.
BITLATHE_INLINE F low_codes(I bytes) {
#if defined(__AVX512F__)
  const __m512 codes = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return {_mm512_permutexvar_ps(bytes.v, codes)};
#else
  return to_f(bytes & set1i(15));
#endif
}

/// kernels/layouts/value_tables.h
BITLATHE_INLINE __m128i iq4_table() {
  return _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);
}
BITLATHE_INLINE __m128i e2m1_table() {
  return _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);
}
BITLATHE_INLINE F look_up(__m128i table, __m128i codes) {
  return to_f(lanes_i8(_mm_shuffle_epi8(table, codes)));
}

} // namespace
} // namespace bitlathe::cpu
