// SPDX-License-Identifier: Apache-2.0
// Slopes of activations. All but gelu and relu are x * sigmoid(s(x)), so that
// f' = sigmoid + x * sigmoid * (1 - sigmoid) * s'.
#include "kernels/base/parallel.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/kernels.h"
#include "kernels/nn/backward.h"
#include "kernels/nn/nn.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace bitlathe {

namespace {

constexpr std::int64_t piece = 256; ///< values worked on together
constexpr std::int64_t grain = 64;  ///< pieces per task

struct Silu {
  static float inner(float x) { return x; }
  static float slope(float) { return 1.0f; }
};
struct GeluQuick {
  static float inner(float x) { return 1.702f * x; }
  static float slope(float) { return 1.702f; }
};
struct GeluTanh {
  static constexpr float factor = 1.59576912f; // 2 sqrt(2 / pi)
  static float inner(float x) { return factor * (x + 0.044715f * x * x * x); }
  static float slope(float x) { return factor * (1.0f + 3.0f * 0.044715f * x * x); }
};

/// Value and slope of up to `piece` values.
template <class Kind> struct TimesSigmoid {
  static void both(const float* x, std::int64_t n, float* value, float* slope) {
    float e[piece];
    for (std::int64_t i = 0; i < n; ++i)
      e[i] = Kind::inner(x[i]);
    exponential(e, n, -1.0f);
    for (std::int64_t i = 0; i < n; ++i) {
      const float sigmoid = 1.0f / (1.0f + e[i]);
      value[i] = x[i] * sigmoid;
      slope[i] = sigmoid + value[i] * (1.0f - sigmoid) * Kind::slope(x[i]);
    }
  }
};

struct Gelu {
  static void both(const float* x, std::int64_t n, float* value, float* slope) {
    float e[piece];
    for (std::int64_t i = 0; i < n; ++i)
      e[i] = x[i] * x[i];
    exponential(e, n, -0.5f);
    for (std::int64_t i = 0; i < n; ++i) {
      const float share = 0.5f * std::erfc(-0.70710678f * x[i]);
      value[i] = x[i] * share;
      slope[i] = share + x[i] * 0.39894228f * e[i];
    }
  }
};

struct Relu {
  static void both(const float* x, std::int64_t n, float* value, float* slope) {
    for (std::int64_t i = 0; i < n; ++i) {
      value[i] = x[i] > 0 ? x[i] : 0.0f;
      slope[i] = x[i] > 0 ? 1.0f : 0.0f;
    }
  }
};

template <class Kind>
void backward(const float* x, const float* up, const float* dy, std::int64_t n, float* dx,
              float* dup) {
  parallel_for((n + piece - 1) / piece, grain, [=](std::int64_t begin, std::int64_t end) {
    float value[piece], slope[piece];
    for (std::int64_t first = begin * piece; first < std::min(n, end * piece); first += piece) {
      const std::int64_t count = std::min(piece, n - first);
      Kind::both(x + first, count, value, slope);
      for (std::int64_t i = 0; i < count; ++i) {
        const float g = dy[first + i];
        if (up)
          dup[first + i] = g * value[i];
        dx[first + i] = g * slope[i] * (up ? up[first + i] : 1.0f);
      }
    }
  });
}

template <auto plain, auto gated>
void forward(const float* x, const float* up, std::int64_t n, float* out) {
  if (up)
    gated(x, up, n, out);
  else
    plain(x, n, out);
}

constexpr std::array kinds{
    ActivationKind{"silu", forward<silu, silu_mul>, backward<TimesSigmoid<Silu>>},
    ActivationKind{"gelu", forward<gelu, gelu_mul>, backward<Gelu>},
    ActivationKind{"gelu_tanh", forward<gelu_tanh, gelu_tanh_mul>,
                   backward<TimesSigmoid<GeluTanh>>},
    ActivationKind{"gelu_quick", forward<gelu_quick, gelu_quick_mul>,
                   backward<TimesSigmoid<GeluQuick>>},
    ActivationKind{"relu", forward<relu, relu_mul>, backward<Relu>}};

} // namespace

void exponential(float* x, std::int64_t n, float scale) {
  if (n > 0)
    active_cpu_kernels().exp_sum(x, n, scale, 0.0f);
}

const ActivationKind* find_activation_kind(std::string_view id) {
  for (const ActivationKind& kind : kinds)
    if (kind.id == id)
      return &kind;
  return nullptr;
}

} // namespace bitlathe
