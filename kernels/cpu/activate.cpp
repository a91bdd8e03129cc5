// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/families.h"
#include "kernels/cpu/simd.h"

namespace bitlathe::cpu::BITLATHE_ISA {

namespace {

BITLATHE_INLINE F power_of_two(I n) { return as_f(shift_left(n + set1i(127), 23)); }

/// e^x to 2 ulp; 0 and infinity where they belong, NaN kept.
BITLATHE_INLINE F exponential(F x) {
  // max() and min() return their second operand when one is NaN.
  const F y = min(set1(90.0f), max(set1(-105.0f), x));
  const I n = round_i(y * set1(1.44269504f));
  const F k = to_f(n);
  F r = fma(k, set1(-0.693359375f), y); // ln 2 in two parts, the first exact in 10 bits
  r = fma(k, set1(2.12194440e-4f), r);
  F p = set1(1.0f / 5040.0f);
  p = fma(p, r, set1(1.0f / 720.0f));
  p = fma(p, r, set1(1.0f / 120.0f));
  p = fma(p, r, set1(1.0f / 24.0f));
  p = fma(p, r, set1(1.0f / 6.0f));
  p = fma(p, r, set1(0.5f));
  p = fma(p * r, r, r) + set1(1.0f);
  const I half = trunc_i(k * set1(0.5f)); // 2^n in two steps reaches subnormals and infinity
  return p * power_of_two(half) * power_of_two(n - half);
}

BITLATHE_INLINE F times_sigmoid(F x, F slope) {
  return x / (set1(1.0f) + exponential(zero_f() - slope));
}

/// x * 0.5 * erfc(-x / sqrt 2) by Abramowitz and Stegun 7.1.26 (1.5e-7 absolute in erf).
BITLATHE_INLINE F gauss(F x) {
  const F z = abs(x) * set1(0.70710678f);
  const F t = set1(1.0f) / fma(set1(0.3275911f), z, set1(1.0f));
  F p = set1(1.061405429f);
  p = fma(p, t, set1(-1.453152027f));
  p = fma(p, t, set1(1.421413741f));
  p = fma(p, t, set1(-0.284496736f));
  p = fma(p, t, set1(0.254829592f));
  const F tail = p * t * exponential(zero_f() - z * z); // erfc(|z|)
  const unsigned positive = less_equal(zero_f(), x);
  return set1(0.5f) * x * select(positive, tail, set1(2.0f) - tail);
}

template <int kind> BITLATHE_INLINE F apply(F x) {
  if (kind == act_silu)
    return times_sigmoid(x, x);
  if (kind == act_gelu)
    return gauss(x);
  if (kind == act_gelu_tanh) // 0.5 (1 + tanh u) = sigmoid(2 u)
    return times_sigmoid(x, set1(1.59576912f) * fma(set1(0.044715f) * x * x, x, x));
  if (kind == act_gelu_quick)
    return times_sigmoid(x, set1(1.702f) * x);
  return max(zero_f(), x); // keeps NaN
}

template <int kind> void over(const float* x, const float* up, std::int64_t n, float* out) {
  std::int64_t i = 0;
  for (; i + width <= n; i += width) {
    const F y = apply<kind>(load(x + i));
    store(out + i, up ? y * load(up + i) : y);
  }
  if (i < n) {
    alignas(64) float tail[width] = {}, factor[width] = {};
    const std::size_t bytes = std::size_t(n - i) * 4;
    __builtin_memcpy(tail, x + i, bytes);
    if (up)
      __builtin_memcpy(factor, up + i, bytes);
    const F y = apply<kind>(load(tail));
    store(tail, up ? y * load(factor) : y);
    __builtin_memcpy(out + i, tail, bytes);
  }
}

} // namespace

void activate(int kind, const float* x, const float* up, std::int64_t n, float* out) {
  switch (kind) {
  case act_silu:
    return over<act_silu>(x, up, n, out);
  case act_gelu:
    return over<act_gelu>(x, up, n, out);
  case act_gelu_tanh:
    return over<act_gelu_tanh>(x, up, n, out);
  case act_gelu_quick:
    return over<act_gelu_quick>(x, up, n, out);
  default:
    return over<act_relu>(x, up, n, out);
  }
}

float exp_sum(float* x, std::int64_t n, float scale, float shift) {
  const F factor = set1(scale), down = set1(shift);
  F sum = zero_f();
  std::int64_t i = 0;
  for (; i + width <= n; i += width) {
    const F e = exponential(load(x + i) * factor - down);
    store(x + i, e);
    sum = sum + e;
  }
  float total = sum_lanes(sum);
  if (i < n) {
    alignas(64) float tail[width] = {};
    __builtin_memcpy(tail, x + i, std::size_t(n - i) * 4);
    store(tail, exponential(load(tail) * factor - down));
    __builtin_memcpy(x + i, tail, std::size_t(n - i) * 4);
    for (std::int64_t l = 0; l < n - i; ++l)
      total += tail[l];
  }
  return total;
}

float largest(const float* x, std::int64_t n) {
  float most = x[0];
  std::int64_t i = 0;
  if (n >= width) {
    F lane = load(x);
    for (i = width; i + width <= n; i += width)
      lane = max(load(x + i), lane);
    most = max_lanes(lane);
  }
  for (; i < n; ++i)
    most = x[i] > most ? x[i] : most;
  return most;
}

} // namespace bitlathe::cpu::BITLATHE_ISA
