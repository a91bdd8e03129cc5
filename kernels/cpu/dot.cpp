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
BITLATHE_INLINE I both_and(I x, int mask) {
  return {_mm512_and_si512(x.v, _mm512_set1_epi32(mask))};
}
#else
BITLATHE_INLINE I both_and(I x, int mask) {
  const __m256i m = _mm256_set1_epi32(mask);
  return {_mm256_and_si256(x.a, m), _mm256_and_si256(x.b, m)};
}
#endif

/// Products of 32 codes in 16 bytes: low nibbles with x, high ones, which stay 16 times too large,
/// with x + 16, which holds inputs divided by 16.
BITLATHE_INLINE F low_nibbles(I bytes, const float* x, F sum) {
#if defined(__AVX512F__) // a table looks at the low four bits only: one instruction instead of two
  const __m512 codes = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return fma(F{_mm512_permutexvar_ps(bytes.v, codes)}, load(x), sum);
#else
  return fma(to_f(both_and(bytes, 15)), load(x), sum);
#endif
}
BITLATHE_INLINE F high_nibbles(I bytes, const float* x, F sum) {
  return fma(to_f(both_and(bytes, 240)), load(x + width), sum);
}

constexpr int scale_batch = 16;
/// The f16 scales at the head of 16 (or fewer) blocks, together.
BITLATHE_INLINE void block_scales(const std::uint8_t* b, std::int64_t count, std::int64_t bytes,
                                  float* out) {
  alignas(32) std::uint16_t halves[scale_batch] = {};
  for (std::int64_t i = 0; i < count; ++i)
    __builtin_memcpy(halves + i, b + i * bytes, 2);
  store(out, load_f16(halves));
}

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

float gemv_int4(const std::uint8_t* codes, const float* x, const float* sums, std::int64_t n,
                std::int64_t group, const float* scales, const std::uint8_t* zeros) {
  F total = zero_f();
  for (std::int64_t first = 0, g = 0; first < n; first += group, ++g) {
    const std::int64_t end = first + group < n ? first + group : n;
    F low = load(sums + g * width) * set1(zeros ? -float(zeros[g]) : -8.0f), high = zero_f();
    std::int64_t i = first;
    for (; i + 32 <= end; i += 32) {
      const I bytes = load_u8(codes + (i >> 1));
      low = low_nibbles(bytes, x + i, low);
      high = high_nibbles(bytes, x + i, high);
    }
    if (i < end) { // x is padded with zeros
      std::uint8_t tail[16] = {};
      __builtin_memcpy(tail, codes + (i >> 1), std::size_t(end - i + 1) / 2);
      const I bytes = load_u8(tail);
      low = low_nibbles(bytes, x + i, low);
      high = high_nibbles(bytes, x + i, high);
    }
    total = fma(set1(scales[g]), low + high, total);
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
  F even = zero_f(), odd = zero_f();
  alignas(64) float d[scale_batch];
  const auto block = [&](std::int64_t i, F sum) __attribute__((always_inline)) {
    const F low = to_f(load_i8(b + i * 34 + 2)) * load(x + i * 32);
    const F both = fma(to_f(load_i8(b + i * 34 + 18)), load(x + i * 32 + width), low);
    return fma(set1(d[i]), both, sum);
  };
  for (std::int64_t left = n / 32; left > 0; left -= scale_batch) {
    const std::int64_t count = left < scale_batch ? left : scale_batch;
    block_scales(b, count, 34, d);
    std::int64_t i = 0;
    for (; i + 2 <= count; i += 2) {
      even = block(i, even);
      odd = block(i + 1, odd);
    }
    if (i < count)
      even = block(i, even);
    b += count * 34;
    x += count * 32;
  }
  return sum_lanes(even + odd);
}

float gemv_q4_0(const std::uint8_t* b, const float* x, const float* sums, std::int64_t n) {
  F even = zero_f(), odd = zero_f();
  alignas(64) float d[scale_batch];
  const F minus_eight = set1(-8.0f);
  const auto block = [&](std::int64_t i, F sum) __attribute__((always_inline)) {
    const I bytes = load_u8(b + i * 18 + 2);
    const F low = low_nibbles(bytes, x + i * 32, load(sums + i * width) * minus_eight);
    return fma(set1(d[i]), high_nibbles(bytes, x + i * 32, low), sum);
  };
  for (std::int64_t left = n / 32; left > 0; left -= scale_batch) {
    const std::int64_t count = left < scale_batch ? left : scale_batch;
    block_scales(b, count, 18, d);
    std::int64_t i = 0;
    for (; i + 2 <= count; i += 2) {
      even = block(i, even);
      odd = block(i + 1, odd);
    }
    if (i < count)
      even = block(i, even);
    b += count * 18;
    x += count * 32;
    sums += count * width;
  }
  return sum_lanes(even + odd);
}

} // namespace bitlathe::cpu::BITLATHE_ISA
