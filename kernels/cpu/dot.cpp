// SPDX-License-Identifier: Apache-2.0
// Products of one vector with rows: memory-bound, so rows are decoded in registers.
#include "kernels/cpu/families.h"
#include "kernels/cpu/simd.h"

namespace bitlathe::cpu::BITLATHE_ISA {

namespace {

/// Lanes [0, n) of p, zeros after them.
BITLATHE_INLINE F load_part(const float* p, std::int64_t n) {
  alignas(64) float tail[width] = {};
  __builtin_memcpy(tail, p, std::size_t(n) * 4);
  return load(tail);
}

template <int rows>
BITLATHE_INLINE void dot_some(const float* x, const float* w, std::int64_t n, std::int64_t stride,
                              float* out) {
  F acc[rows][2];
  for (int r = 0; r < rows; ++r)
    acc[r][0] = acc[r][1] = zero_f();
  std::int64_t i = 0;
  for (; i + 2 * width <= n; i += 2 * width) {
    const F a = load(x + i), b = load(x + i + width);
    for (int r = 0; r < rows; ++r) {
      acc[r][0] = fma(a, load(w + r * stride + i), acc[r][0]);
      acc[r][1] = fma(b, load(w + r * stride + i + width), acc[r][1]);
    }
  }
  for (; i < n; i += width) {
    const std::int64_t count = n - i < width ? n - i : width;
    const F a = load_part(x + i, count);
    for (int r = 0; r < rows; ++r)
      acc[r][0] = fma(a, load_part(w + r * stride + i, count), acc[r][0]);
  }
  for (int r = 0; r < rows; ++r)
    out[r] = sum_lanes(acc[r][0] + acc[r][1]);
}

template <F (*load_16)(const void*)>
BITLATHE_INLINE float gemv_halves(const std::uint8_t* w, const float* x, std::int64_t n) {
  F acc[4] = {zero_f(), zero_f(), zero_f(), zero_f()};
  std::int64_t i = 0;
  for (; i + 4 * width <= n; i += 4 * width)
    for (int p = 0; p < 4; ++p)
      acc[p] = fma(load_16(w + (i + p * width) * 2), load(x + i + p * width), acc[p]);
  for (; i < n; i += width) {
    const std::int64_t count = n - i < width ? n - i : width;
    std::uint8_t tail[2 * width] = {};
    __builtin_memcpy(tail, w + i * 2, std::size_t(count) * 2);
    acc[0] = fma(load_16(tail), load_part(x + i, count), acc[0]);
  }
  return sum_lanes((acc[0] + acc[1]) + (acc[2] + acc[3]));
}

#if defined(__AVX512F__)
/// f32(nibble) - zero by table: only the low four bits of an index count.
struct Table {
  __m512 value;
};
BITLATHE_INLINE Table table_for(float zero) {
  const __m512 codes = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return {_mm512_sub_ps(codes, _mm512_set1_ps(zero))};
}
BITLATHE_INLINE F low_nibbles(I bytes, Table t) {
  return {_mm512_permutexvar_ps(bytes.v, t.value)};
}
BITLATHE_INLINE F high_nibbles(I bytes, Table t) {
  return {_mm512_permutexvar_ps(_mm512_srli_epi32(bytes.v, 4), t.value)};
}
#else
struct Table {
  F zero;
};
BITLATHE_INLINE Table table_for(float zero) { return {set1(zero)}; }
BITLATHE_INLINE F low_nibbles(I x, Table t) {
  const __m256i mask = _mm256_set1_epi32(15);
  return to_f(I{_mm256_and_si256(x.a, mask), _mm256_and_si256(x.b, mask)}) - t.zero;
}
BITLATHE_INLINE F high_nibbles(I x, Table t) {
  return to_f(I{_mm256_srli_epi32(x.a, 4), _mm256_srli_epi32(x.b, 4)}) - t.zero;
}
#endif

} // namespace

void dot_rows(const float* x, const float* w, std::int64_t n, std::int64_t rows,
              std::int64_t stride, float* out) {
  std::int64_t r = 0;
  for (; r + 4 <= rows; r += 4)
    dot_some<4>(x, w + r * stride, n, stride, out + r);
  for (; r < rows; ++r)
    dot_some<1>(x, w + r * stride, n, stride, out + r);
}

void weighted_sum(const float* weight, const float* v, std::int64_t n, std::int64_t dim,
                  float* acc) {
  std::int64_t j = 0;
  for (; j + 4 * width <= dim; j += 4 * width) {
    F sum[4];
    for (int p = 0; p < 4; ++p)
      sum[p] = load(acc + j + p * width);
    for (std::int64_t i = 0; i < n; ++i) {
      const F factor = set1(weight[i]);
      for (int p = 0; p < 4; ++p)
        sum[p] = fma(factor, load(v + i * dim + j + p * width), sum[p]);
    }
    for (int p = 0; p < 4; ++p)
      store(acc + j + p * width, sum[p]);
  }
  for (; j + width <= dim; j += width) {
    F sum = load(acc + j);
    for (std::int64_t i = 0; i < n; ++i)
      sum = fma(set1(weight[i]), load(v + i * dim + j), sum);
    store(acc + j, sum);
  }
  for (; j < dim; ++j)
    for (std::int64_t i = 0; i < n; ++i)
      acc[j] = __builtin_fmaf(weight[i], v[i * dim + j], acc[j]);
}

float gemv_float(int type, const void* w, const float* x, std::int64_t n) {
  if (type == type_f16)
    return gemv_halves<load_f16>(static_cast<const std::uint8_t*>(w), x, n);
  if (type == type_bf16)
    return gemv_halves<load_bf16>(static_cast<const std::uint8_t*>(w), x, n);
  F acc[4] = {zero_f(), zero_f(), zero_f(), zero_f()};
  const auto* bytes = static_cast<const std::uint8_t*>(w); // may not be aligned to a float
  std::int64_t i = 0;
  const auto at = [bytes](std::int64_t index) __attribute__((always_inline)) {
    return reinterpret_cast<const float*>(bytes + index * 4);
  };
  for (; i + 4 * width <= n; i += 4 * width)
    for (int p = 0; p < 4; ++p)
      acc[p] = fma(load(at(i + p * width)), load(x + i + p * width), acc[p]);
  for (; i < n; i += width) {
    const std::int64_t count = n - i < width ? n - i : width;
    acc[0] = fma(load_part(at(i), count), load_part(x + i, count), acc[0]);
  }
  return sum_lanes((acc[0] + acc[1]) + (acc[2] + acc[3]));
}

float gemv_int4(const std::uint8_t* codes, const float* x, std::int64_t n, std::int64_t group,
                const float* scales, const std::uint8_t* zeros) {
  F total = zero_f();
  Table table = table_for(8.0f);
  for (std::int64_t first = 0, g = 0; first < n; first += group, ++g) {
    const std::int64_t end = first + group < n ? first + group : n;
    if (zeros)
      table = table_for(float(zeros[g]));
    F even = zero_f(), odd = zero_f();
    std::int64_t i = first;
    for (; i + 32 <= end; i += 32) {
      const I bytes = load_u8(codes + i / 2);
      even = fma(low_nibbles(bytes, table), load(x + i), even);
      odd = fma(high_nibbles(bytes, table), load(x + i + width), odd);
    }
    if (i < end) { // x is padded with zeros
      std::uint8_t tail[16] = {};
      __builtin_memcpy(tail, codes + i / 2, std::size_t(end - i + 1) / 2);
      const I bytes = load_u8(tail);
      even = fma(low_nibbles(bytes, table), load(x + i), even);
      odd = fma(high_nibbles(bytes, table), load(x + i + width), odd);
    }
    total = fma(set1(scales[g]), even + odd, total);
  }
  return sum_lanes(total);
}

float gemv_int8(const std::uint8_t* codes, const float* x, std::int64_t n, std::int64_t group,
                const float* scales, const std::uint8_t* zeros) {
  F total = zero_f();
  for (std::int64_t first = 0, g = 0; first < n; first += group, ++g) {
    const std::int64_t end = first + group < n ? first + group : n;
    const I zero = set1i(zeros ? zeros[g] : 128);
    F a = zero_f(), b = zero_f();
    std::int64_t i = first;
    for (; i + 32 <= end; i += 32) {
      a = fma(to_f(load_u8(codes + i) - zero), load(x + i), a);
      b = fma(to_f(load_u8(codes + i + width) - zero), load(x + i + width), b);
    }
    for (; i < end; i += width) {
      const std::int64_t count = end - i < width ? end - i : width;
      std::uint8_t tail[16] = {};
      __builtin_memcpy(tail, codes + i, std::size_t(count));
      a = fma(to_f(load_u8(tail) - zero), load_part(x + i, count), a);
    }
    total = fma(set1(scales[g]), a + b, total);
  }
  return sum_lanes(total);
}

float gemv_q8_0(const std::uint8_t* b, const float* x, std::int64_t n) {
  F total[2] = {zero_f(), zero_f()};
  for (std::int64_t i = 0; i < n; i += 32, b += 34) {
    const F low = to_f(load_i8(b + 2)) * load(x + i);
    const F both = fma(to_f(load_i8(b + 18)), load(x + i + width), low);
    F& sum = total[i / 32 % 2];
    sum = fma(set1(half_to_f32(b)), both, sum);
  }
  return sum_lanes(total[0] + total[1]);
}

float gemv_q4_0(const std::uint8_t* b, const float* x, std::int64_t n) {
  F total[2] = {zero_f(), zero_f()};
  const Table table = table_for(8.0f);
  for (std::int64_t i = 0; i < n; i += 32, b += 18) {
    const I bytes = load_u8(b + 2);
    const F low = low_nibbles(bytes, table) * load(x + i);
    const F both = fma(high_nibbles(bytes, table), load(x + i + width), low);
    F& sum = total[i / 32 % 2];
    sum = fma(set1(half_to_f32(b)), both, sum);
  }
  return sum_lanes(total[0] + total[1]);
}

} // namespace bitlathe::cpu::BITLATHE_ISA
