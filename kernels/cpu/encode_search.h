// SPDX-License-Identifier: Apache-2.0
// Searches for the scales of GGUF blocks, sixteen sub-blocks at a time: x[i * 16 + lane] is value i
// of a lane's sub-block. The order of the operations in a lane is part of what "the same bytes as
// the reference" means (ggml-org/ggml, ggml-quants.c).
#pragma once

#include "kernels/cpu/encode_lanes.h"

namespace bitlathe::cpu {
namespace {

struct Peak {
  F magnitude, value; ///< of the first value of the largest magnitude
};
template <int n> BITLATHE_INLINE Peak peak(const float* x) {
  Peak p{set1(0.0f), set1(0.0f)};
  for (int i = 0; i < n; ++i) {
    const F value = load(x + i * width), size = abs(value);
    const Mask more = greater(size, p.magnitude);
    p.magnitude = blend(more, p.magnitude, size);
    p.value = blend(more, p.value, value);
  }
  return p;
}

/// Symmetric codes -most .. most - 1: the scale of the least weighted squared error among 19
/// starts. `codes` (may be null) get q + most, or 0 in a lane of zeros. Returns the scales.
template <int n>
static F search_symmetric(float most, const float* x, const float* weight, std::uint8_t* codes) {
  const F low = set1(-most), high = set1(most - 1.0f);
  const Peak top = peak<n>(x);
  const Mask some = not_less(top.magnitude, set1(nothing));
  F chosen = set1(-most) / top.value, scale = set1(0.0f), best = set1(0.0f);
  for (int step = -10; step <= 9; ++step) {
    if (step == 0)
      continue;
    const bool first = step == -10;
    const F inverse = first ? chosen : set1(-(most + 0.1f * float(step))) / top.value;
    F xl = set1(0.0f), ll = set1(0.0f);
    for (int i = 0; i < n; ++i) {
      const F value = load(x + i * width), w = load(weight + i * width);
      const F q = min(max(whole(inverse * value), low), high), wq = w * q;
      xl = xl + w * value * q;
      ll = ll + wq * q;
    }
    const Mask usable = greater(ll, set1(0.0f));
    if (first) {
      scale = only(usable, xl / ll);
      best = scale * xl;
      continue;
    }
    const Mask better = usable & greater(xl * xl, best * ll);
    if (!any(better))
      continue;
    chosen = blend(better, chosen, inverse);
    scale = blend(better, scale, xl / ll);
    best = blend(better, best, scale * xl);
  }
  if (codes)
    for (int i = 0; i < n; ++i) {
      const F q = min(max(whole(chosen * load(x + i * width)), low), high) + set1(most);
      store_bytes(codes + i * width, only(some, q));
    }
  return only(some, scale);
}

/// Symmetric codes -most .. most - 1 that change one by one while the error, weighted by the
/// squared values, falls. As above otherwise.
template <int n> static F search_by_sweeps(float most, const float* x, std::uint8_t* codes) {
  const F low = set1(-most), high = set1(most - 1.0f), zero = set1(0.0f);
  const Peak top = peak<n>(x);
  const Mask some = not_less(top.magnitude, set1(nothing));
  const F inverse = set1(-most) / top.value;
  alignas(64) float q[n * width], wx[n * width], ww[n * width];
  F xl = zero, ll = zero;
  for (int i = 0; i < n; ++i) {
    const F value = load(x + i * width), w = value * value;
    const F code = min(max(whole(inverse * value), low), high);
    store(q + i * width, code);
    store(ww + i * width, w);
    store(wx + i * width, w * value);
    xl = xl + w * value * code;
    ll = ll + w * code * code;
  }
  for (int sweep = 0; sweep < 5; ++sweep) {
    bool changed = false;
    for (int i = 0; i < n; ++i) {
      const F value = load(x + i * width), w = load(ww + i * width), wv = load(wx + i * width);
      const F code = load(q + i * width);
      F other_xl = xl - wv * code;
      const Mask positive = greater(other_xl, zero);
      F other_ll = ll - w * code * code;
      const F next = min(max(whole(value * other_ll / other_xl), low), high);
      other_xl = other_xl + wv * next;
      other_ll = other_ll + w * next * next;
      const Mask better = positive & different(next, code) & greater(other_ll, zero) &
                          greater(other_xl * other_xl * ll, xl * xl * other_ll);
      if (!any(better))
        continue;
      changed = true;
      store(q + i * width, blend(better, code, next));
      xl = blend(better, xl, other_xl);
      ll = blend(better, ll, other_ll);
    }
    if (!changed)
      break;
  }
  for (int i = 0; i < n; ++i)
    store_bytes(codes + i * width, only(some, load(q + i * width) + set1(most)));
  return only(some & greater(ll, zero), xl / ll);
}

/// How the inverse scales (first + step * k + most) / (max - min), k = 0 .. steps, are tried.
struct Tries {
  float first, step;
  int steps;
};

/// Codes 0 .. most with a scale and a minimum that is never above 0: x = scale * code + minimum.
/// The error is the weighted square, or the weighted magnitude if `absolute`.
template <int n, bool absolute>
static F search_affine(float most, const float* x, const float* weight, Tries tries,
                       std::uint8_t* codes, F* minimum) {
  const F zero = set1(0.0f), high = set1(most);
  F lo = load(x), hi = lo, sum_w = load(weight), sum_x = sum_w * lo;
  for (int i = 1; i < n; ++i) {
    const F value = load(x + i * width), w = load(weight + i * width);
    lo = min(value, lo);
    hi = max(value, hi);
    sum_w = sum_w + w;
    sum_x = sum_x + w * value;
  }
  lo = blend(greater(lo, zero), lo, zero); // a minimum of -0 stays
  const Mask some = greater(hi, lo);
  const F flat = lo;
  alignas(64) float trial[n * width];
  F chosen = high / (hi - lo), chosen_lo = lo, scale = set1(1.0f) / chosen, best = zero;
  for (int i = 0; i < n; ++i) {
    const F value = load(x + i * width);
    const F q = min(max(whole(chosen * (value - lo)), zero), high);
    const F difference = scale * q + lo - value;
    best = best + load(weight + i * width) * (absolute ? abs(difference) : difference * difference);
  }
  for (int k = 0; k <= tries.steps; ++k) {
    // As in the reference, later tries start from the minimum found so far.
    const F inverse = set1(tries.first + tries.step * float(k) + most) / (hi - lo);
    F sum_l = zero, sum_ll = zero, sum_xl = zero;
    for (int i = 0; i < n; ++i) {
      const F value = load(x + i * width);
      const F q = min(max(whole(inverse * (value - lo)), zero), high);
      const F wq = load(weight + i * width) * q;
      store(trial + i * width, q);
      sum_l = sum_l + wq;
      sum_ll = sum_ll + wq * q;
      sum_xl = sum_xl + wq * value;
    }
    const F determinant = sum_w * sum_ll - sum_l * sum_l;
    const F free_lo = (sum_ll * sum_x - sum_l * sum_xl) / determinant;
    const Mask above = greater(free_lo, zero);
    const F this_scale =
        blend(above, (sum_w * sum_xl - sum_x * sum_l) / determinant, sum_xl / sum_ll);
    const F this_lo = blend(above, free_lo, zero);
    F error = zero;
    for (int i = 0; i < n; ++i) {
      const F difference = this_scale * load(trial + i * width) + this_lo - load(x + i * width);
      error =
          error + load(weight + i * width) * (absolute ? abs(difference) : difference * difference);
    }
    const Mask better = greater(determinant, zero) & greater(best, error);
    if (!any(better))
      continue;
    best = blend(better, best, error);
    chosen = blend(better, chosen, inverse);
    chosen_lo = blend(better, chosen_lo, lo);
    scale = blend(better, scale, this_scale);
    lo = blend(better, lo, this_lo);
  }
  for (int i = 0; i < n; ++i) {
    const F q = min(max(whole(chosen * (load(x + i * width) - chosen_lo)), zero), high);
    store_bytes(codes + i * width, only(some, q));
  }
  *minimum = blend(some, flat, lo);
  return only(some, scale);
}

// ---- scales of sub-blocks, one super-block at a time

/// Codes 0 .. most of n values that are not negative: among nine scales, then code by code.
static inline float fit_positive(int n, float most, const float* x, const float* weight,
                                 float* codes) {
  float largest = 0;
  for (int i = 0; i < n; ++i)
    largest = x[i] > largest ? x[i] : largest;
  if (largest < nothing) {
    for (int i = 0; i < n; ++i)
      codes[i] = 0;
    return 0;
  }
  const auto code_of = [most](float at) { return limited(whole(at), 0.0f, most); };
  float inverse = most / largest, best = 0;
  const float plain = 1.0f / inverse;
  for (int i = 0; i < n; ++i) {
    const float difference = x[i] - plain * code_of(inverse * x[i]);
    best += weight[i] * difference * difference;
  }
  for (int step = -4; step <= 4; ++step) {
    if (step == 0)
      continue;
    const float trial = (0.1f * float(step) + most) / largest, scale = 1.0f / trial;
    float error = 0;
    for (int i = 0; i < n; ++i) {
      const float difference = x[i] - scale * code_of(trial * x[i]);
      error += weight[i] * difference * difference;
    }
    if (error < best) {
      best = error;
      inverse = trial;
    }
  }
  float xl = 0, ll = 0;
  for (int i = 0; i < n; ++i) {
    codes[i] = code_of(inverse * x[i]);
    xl += weight[i] * x[i] * codes[i];
    ll += weight[i] * codes[i] * codes[i];
  }
  for (int sweep = 0; sweep < 5; ++sweep) {
    bool changed = false;
    for (int i = 0; i < n; ++i) {
      const float w = weight[i];
      float other_xl = xl - w * x[i] * codes[i], other_ll = ll - w * codes[i] * codes[i];
      if (!(other_xl > 0 && other_ll > 0))
        continue;
      const float next = code_of(x[i] * other_ll / other_xl);
      if (next == codes[i])
        continue;
      other_xl += w * x[i] * next;
      other_ll += w * next * next;
      if (other_xl * other_xl * ll > xl * xl * other_ll) {
        codes[i] = next;
        xl = other_xl;
        ll = other_ll;
        changed = true;
      }
    }
    if (!changed)
      break;
  }
  return ll > 0 ? xl / ll : 0;
}

/// search_symmetric for one group of n values.
BITLATHE_INLINE float fit_symmetric(int n, float most, const float* x, const float* weight,
                                    float* codes) {
  float size = 0, top = 0;
  for (int i = 0; i < n; ++i)
    if (magnitude(x[i]) > size) {
      size = magnitude(x[i]);
      top = x[i];
    }
  if (size < nothing) {
    for (int i = 0; i < n; ++i)
      codes[i] = 0;
    return 0;
  }
  const auto code_of = [most](float at) { return limited(whole(at), -most, most - 1.0f); };
  float chosen = -most / top, scale = 0, best = 0;
  for (int step = -10; step <= 9; ++step) {
    if (step == 0)
      continue;
    const bool first = step == -10;
    const float inverse = first ? chosen : -(most + 0.1f * float(step)) / top;
    float xl = 0, ll = 0;
    for (int i = 0; i < n; ++i) {
      const float q = code_of(inverse * x[i]);
      xl += weight[i] * x[i] * q;
      ll += weight[i] * q * q;
    }
    if (!(ll > 0 && (first || xl * xl > best * ll)))
      continue;
    chosen = inverse;
    scale = xl / ll;
    best = scale * xl;
  }
  for (int i = 0; i < n; ++i)
    codes[i] = code_of(chosen * x[i]) + most;
  return scale;
}

// ---- moving values to lanes and back

/// Value i of sub-block l to to[i * 16 + l]; lanes from `count` on get zeros.
template <int n> BITLATHE_INLINE void to_lanes(const float* x, int count, float* to) {
  for (int l = 0; l < count; ++l)
    for (int i = 0; i < n; ++i)
      to[i * width + l] = x[l * n + i];
  for (int l = count; l < width; ++l)
    for (int i = 0; i < n; ++i)
      to[i * width + l] = 0;
}

/// importance * sqrt(sigma2 + x^2), in lanes already.
template <int n>
BITLATHE_INLINE void to_weights(const float* x, F sigma2, float* importance_to_weight) {
  for (int i = 0; i < n; ++i) {
    const F value = load(x + i * width);
    store(importance_to_weight + i * width,
          load(importance_to_weight + i * width) * root(sigma2 + value * value));
  }
}

/// Sums of squares of `blocks` (up to 8) neighbouring blocks of n values, each in order.
BITLATHE_INLINE void sums_of_squares(const float* x, int n, int blocks, float* sums) {
  for (int b = 0; b + 1 < blocks; b += 2) { // two chains of additions at a time
    float even = 0, odd = 0;
    for (int i = 0; i < n; ++i) {
      const float p = x[b * n + i], q = x[(b + 1) * n + i];
      even += p * p;
      odd += q * q;
    }
    sums[b] = even;
    sums[b + 1] = odd;
  }
  if (blocks % 2) {
    float last = 0;
    for (int i = 0; i < n; ++i) {
      const float p = x[(blocks - 1) * n + i];
      last += p * p;
    }
    sums[blocks - 1] = last;
  }
}

} // namespace
} // namespace bitlathe::cpu
