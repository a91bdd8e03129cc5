// SPDX-License-Identifier: Apache-2.0
#include "kernels/quant/gguf_search.h"

#include "kernels/num/float16.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace bitlathe {

namespace {

constexpr int block = 32;

/// Ties to even by the addition of 1.5 * 2^23; |x| must stay below 2^22, which the limits here
/// guarantee for finite input. A value outside would wrap in the reference; it is limited here.
int nearest(float x) {
  x = std::clamp(x, -4194304.0f, 4194303.0f);
  const float magic = 12582912.0f;
  return int((x + magic) - magic);
}

struct Fit {
  float xl = 0, ll = 0; ///< weighted sums of x * code and code * code
};

Fit fit_symmetric(int n, int nmax, const float* x, const float* weight, float inverse,
                  std::uint8_t* codes) {
  Fit fit;
  for (int i = 0; i < n; ++i) {
    const int q = std::clamp(nearest(inverse * x[i]), -nmax, nmax - 1);
    codes[i] = std::uint8_t(q + nmax);
    fit.xl += weight[i] * x[i] * float(q);
    fit.ll += weight[i] * float(q) * float(q);
  }
  return fit;
}

/// weight = importance * sqrt(sigma^2 + x^2), sigma^2 = mean of x^2 over the row.
float mean_square(const float* x, std::int64_t n) {
  float sum = 0;
  for (std::int64_t i = 0; i < n; ++i)
    sum += x[i] * x[i];
  return sum / float(n);
}

void block_weights(const float* x, const float* importance, float sigma2, float* weight) {
  for (int i = 0; i < block; ++i)
    weight[i] = importance[i] * std::sqrt(sigma2 + x[i] * x[i]);
}

void put_half(std::uint8_t* at, float value) {
  const std::uint16_t half = f32_to_f16(value);
  std::memcpy(at, &half, 2);
}

void put_nibbles(std::uint8_t* at, const std::uint8_t* codes) {
  for (int j = 0; j < block / 2; ++j)
    at[j] = std::uint8_t(codes[j] | codes[j + block / 2] << 4);
}

} // namespace

float search_symmetric(int n, int nmax, const float* x, const float* weight, std::uint8_t* codes) {
  float largest = 0, signed_largest = 0;
  for (int i = 0; i < n; ++i)
    if (std::fabs(x[i]) > largest) {
      largest = std::fabs(x[i]);
      signed_largest = x[i];
    }
  if (largest < 1e-15f) {
    std::fill_n(codes, n, std::uint8_t(0));
    return 0;
  }
  Fit fit = fit_symmetric(n, nmax, x, weight, float(-nmax) / signed_largest, codes);
  float scale = fit.ll != 0.0f ? fit.xl / fit.ll : 0.0f;
  float best = scale * fit.xl;
  std::uint8_t trial[block];
  for (int k = -9; k <= 9; ++k) {
    if (k == 0)
      continue;
    const float inverse = -(float(nmax) + 0.1f * float(k)) / signed_largest;
    fit = fit_symmetric(n, nmax, x, weight, inverse, trial);
    if (fit.ll > 0 && fit.xl * fit.xl > best * fit.ll) {
      std::copy_n(trial, n, codes);
      scale = fit.xl / fit.ll;
      best = scale * fit.xl;
    }
  }
  return scale;
}

float search_affine(int n, int nmax, const float* x, const float* weight, float first, float step,
                    int steps, std::uint8_t* codes, float* minimum) {
  float lo = x[0], hi = x[0], sum_w = weight[0], sum_x = weight[0] * x[0];
  for (int i = 1; i < n; ++i) {
    lo = std::min(lo, x[i]);
    hi = std::max(hi, x[i]);
    sum_w += weight[i];
    sum_x += weight[i] * x[i];
  }
  lo = std::min(lo, 0.0f);
  *minimum = lo;
  if (hi <= lo) {
    std::fill_n(codes, n, std::uint8_t(0));
    return 0;
  }
  float inverse = float(nmax) / (hi - lo), scale = 1 / inverse, best = 0;
  for (int i = 0; i < n; ++i) {
    codes[i] = std::uint8_t(std::clamp(nearest(inverse * (x[i] - lo)), 0, nmax));
    const float difference = scale * float(codes[i]) + lo - x[i];
    best += weight[i] * (difference * difference);
  }
  std::uint8_t trial[block];
  for (int k = 0; k <= steps; ++k) {
    // As in the reference, later tries start from the minimum found so far.
    inverse = (first + step * float(k) + float(nmax)) / (hi - lo);
    float sum_l = 0, sum_ll = 0, sum_xl = 0;
    for (int i = 0; i < n; ++i) {
      const int q = std::clamp(nearest(inverse * (x[i] - lo)), 0, nmax);
      trial[i] = std::uint8_t(q);
      const float wq = weight[i] * float(q);
      sum_l += wq;
      sum_ll += wq * float(q);
      sum_xl += wq * x[i];
    }
    const float determinant = sum_w * sum_ll - sum_l * sum_l;
    if (!(determinant > 0))
      continue;
    float this_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
    float this_lo = (sum_ll * sum_x - sum_l * sum_xl) / determinant;
    if (this_lo > 0) {
      this_lo = 0;
      this_scale = sum_xl / sum_ll;
    }
    float error = 0;
    for (int i = 0; i < n; ++i) {
      const float difference = this_scale * float(trial[i]) + this_lo - x[i];
      error += weight[i] * (difference * difference);
    }
    if (error < best) {
      std::copy_n(trial, n, codes);
      best = error;
      scale = this_scale;
      lo = this_lo;
    }
  }
  *minimum = lo;
  return scale;
}

void encode_q4_0_weighted(const float* x, const float* importance, std::int64_t n,
                          std::uint8_t* out) {
  const float sigma2 = mean_square(x, n);
  for (std::int64_t i = 0; i < n; i += block, out += 18) {
    float weight[block];
    std::uint8_t codes[block];
    block_weights(x + i, importance + i, sigma2, weight);
    put_half(out, search_symmetric(block, 8, x + i, weight, codes));
    put_nibbles(out + 2, codes);
  }
}

void encode_q4_1_weighted(const float* x, const float* importance, std::int64_t n,
                          std::uint8_t* out) {
  const float sigma2 = mean_square(x, n);
  for (std::int64_t i = 0; i < n; i += block, out += 20) {
    float weight[block], minimum = 0;
    std::uint8_t codes[block];
    block_weights(x + i, importance + i, sigma2, weight);
    put_half(out, search_affine(block, 15, x + i, weight, -0.9f, 0.05f, 36, codes, &minimum));
    put_half(out + 2, minimum);
    put_nibbles(out + 4, codes);
  }
}

} // namespace bitlathe
