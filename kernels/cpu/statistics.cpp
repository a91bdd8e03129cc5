// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/families.h"
#include "kernels/cpu/simd.h"

namespace bitlathe::cpu::BITLATHE_ISA {

namespace {

constexpr float infinity = __builtin_inff();
static_assert(lanes == width);

#if defined(__AVX512F__)
/// Half of the f64 lanes at a time: two registers per sum would spill beyond four sums.
constexpr int part = 8;
using D = __m512d;
BITLATHE_INLINE D wide(const float* p) { return _mm512_cvtps_pd(_mm256_loadu_ps(p)); }
BITLATHE_INLINE D load_d(const double* p) { return _mm512_loadu_pd(p); }
BITLATHE_INLINE void store_d(double* p, D a) { _mm512_storeu_pd(p, a); }
BITLATHE_INLINE D add(D a, D b) { return _mm512_add_pd(a, b); }
BITLATHE_INLINE D sub(D a, D b) { return _mm512_sub_pd(a, b); }
BITLATHE_INLINE D mul(D a, D b) { return _mm512_mul_pd(a, b); }
#else
constexpr int part = 4;
using D = __m256d;
BITLATHE_INLINE D wide(const float* p) { return _mm256_cvtps_pd(_mm_loadu_ps(p)); }
BITLATHE_INLINE D load_d(const double* p) { return _mm256_loadu_pd(p); }
BITLATHE_INLINE void store_d(double* p, D a) { _mm256_storeu_pd(p, a); }
BITLATHE_INLINE D add(D a, D b) { return _mm256_add_pd(a, b); }
BITLATHE_INLINE D sub(D a, D b) { return _mm256_sub_pd(a, b); }
BITLATHE_INLINE D mul(D a, D b) { return _mm256_mul_pd(a, b); }
#endif

/// Power sums of n values, a multiple of 16, all finite.
void power_sums(const float* x, std::int64_t n, MomentState* s) {
  for (int first = 0; first < lanes; first += part) {
    D s1 = load_d(s->sum[0] + first), s2 = load_d(s->sum[1] + first),
      s3 = load_d(s->sum[2] + first), s4 = load_d(s->sum[3] + first);
    for (std::int64_t i = first; i < n; i += lanes) {
      const D v = wide(x + i), v2 = mul(v, v);
      s1 = add(s1, v);
      s2 = add(s2, v2);
      s3 = add(s3, mul(v2, v));
      s4 = add(s4, mul(v2, v2));
    }
    store_d(s->sum[0] + first, s1);
    store_d(s->sum[1] + first, s2);
    store_d(s->sum[2] + first, s3);
    store_d(s->sum[3] + first, s4);
  }
}

/// Up to 16 values of which some may not be finite. Those count and are then replaced by zero in
/// the sums, by an end of the number line for minimum and maximum.
void odd_values(const float* x, std::int64_t n, MomentState* s) {
  alignas(64) float values[lanes] = {};
  for (std::int64_t i = 0; i < n; ++i) {
    const float v = x[i];
    if (v != v) {
      ++s->nan;
    } else if (v == infinity || v == -infinity) {
      ++s->inf;
    } else {
      values[i] = v;
      s->zeros += v == 0;
      s->min[i] = v < s->min[i] ? v : s->min[i];
      s->max[i] = v > s->max[i] ? v : s->max[i];
    }
  }
  power_sums(values, lanes, s);
}

} // namespace

void moments(const float* x, std::int64_t n, MomentState* s) {
  std::int64_t i = 0;
  while (i + width <= n) {
    // A run without NaN and infinities.
    std::int64_t end = i;
    F lo = load(s->min), hi = load(s->max);
    std::uint64_t zeros = 0;
    for (; end + width <= n; end += width) {
      const F v = load(x + end);
      if (equal(v - v, zero_f()) != 0xffffu)
        break;
      lo = min(v, lo);
      hi = max(v, hi);
      zeros += std::uint64_t(__builtin_popcount(equal(v, zero_f())));
    }
    store(s->min, lo);
    store(s->max, hi);
    s->zeros += zeros;
    power_sums(x + i, end - i, s);
    i = end;
    if (i + width <= n) {
      odd_values(x + i, width, s);
      i += width;
    }
  }
  if (i < n)
    odd_values(x + i, n - i, s);
}

void errors(const float* w, const float* v, std::int64_t n, ErrorState* s) {
  const std::int64_t whole = n / width * width;
  alignas(64) float tail_w[width] = {}, tail_v[width] = {};
  const bool tail = whole < n;
  if (tail) { // equal zeros change nothing
    __builtin_memcpy(tail_w, w + whole, std::size_t(n - whole) * 4);
    __builtin_memcpy(tail_v, v + whole, std::size_t(n - whole) * 4);
  }
  for (int first = 0; first < lanes; first += part) {
    D e2 = load_d(s->error + first), a2 = load_d(s->ref + first), b2 = load_d(s->quant + first),
      ab = load_d(s->product + first);
    const auto step = [&](const float* wp, const float* vp) __attribute__((always_inline)) {
      const D a = wide(wp), b = wide(vp), e = sub(a, b);
      e2 = add(e2, mul(e, e));
      a2 = add(a2, mul(a, a));
      b2 = add(b2, mul(b, b));
      ab = add(ab, mul(a, b));
    };
    for (std::int64_t i = first; i < whole; i += lanes)
      step(w + i, v + i);
    if (tail)
      step(tail_w + first, tail_v + first);
    store_d(s->error + first, e2);
    store_d(s->ref + first, a2);
    store_d(s->quant + first, b2);
    store_d(s->product + first, ab);
  }
  // The f64 difference rounded to f32, as the scalar kernel takes it, is the f32 difference: 53
  // bits are enough for rounding twice to be the same as once.
  F most = load(s->max_abs);
  for (std::int64_t i = 0; i < whole; i += width)
    most = max(abs(load(w + i) - load(v + i)), most);
  if (tail)
    most = max(abs(load(tail_w) - load(tail_v)), most);
  store(s->max_abs, most);
}

void histogram(const float* x, std::int64_t n, float lo, float hi, float inv, std::int32_t bins,
               std::uint32_t* counts) {
  const F low = set1(lo), high = set1(hi), factor = set1(inv);
  const I last = set1i(bins - 1), outside = set1i(bins);
  const std::int64_t stride = std::int64_t(bins) + 1;
  std::uint32_t* copy[histogram_copies];
  for (int c = 0; c < histogram_copies; ++c)
    copy[c] = counts + c * stride;
  alignas(64) float tail[width];
  alignas(64) std::int32_t index[width];
  for (std::int64_t i = 0; i < n; i += width) {
    std::int64_t count = width;
    F v;
    if (i + width <= n) {
      v = load(x + i);
    } else {
      count = n - i;
      __builtin_memset(tail, 0, sizeof tail);
      __builtin_memcpy(tail, x + i, std::size_t(count) * 4);
      v = load(tail);
    }
    const unsigned inside = less_equal(low, v) & less_equal(v, high);
    store_i(index, select(inside, outside, min(trunc_i((v - low) * factor), last)));
    if (count == width) {
      for (int l = 0; l < width; ++l)
        ++copy[l % histogram_copies][index[l]];
    } else {
      for (int l = 0; l < int(count); ++l)
        ++copy[l % histogram_copies][index[l]];
    }
  }
}

void range(const float* x, std::int64_t n, float* lo, float* hi) {
  if (n < width) {
    float a = x[0], b = x[0];
    bool nan = false;
    for (std::int64_t i = 0; i < n; ++i) {
      nan = nan || x[i] != x[i];
      a = x[i] < a ? x[i] : a;
      b = x[i] > b ? x[i] : b;
    }
    *lo = nan ? __builtin_nanf("") : a + 0.0f;
    *hi = nan ? __builtin_nanf("") : b + 0.0f;
    return;
  }
  F a = load(x), b = a;
  unsigned good = not_nan(a);
  for (std::int64_t i = width; i + width <= n; i += width) {
    const F v = load(x + i);
    good &= not_nan(v);
    a = min(v, a);
    b = max(v, b);
  }
  const F v = load(x + n - width); // overlaps: minimum and maximum do not mind
  good &= not_nan(v);
  a = min(v, a);
  b = max(v, b);
  const bool nan = good != 0xffffu;
  *lo = nan ? __builtin_nanf("") : min_lanes(a) + 0.0f;
  *hi = nan ? __builtin_nanf("") : max_lanes(b) + 0.0f;
}

} // namespace bitlathe::cpu::BITLATHE_ISA
