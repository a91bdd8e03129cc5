// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/parallel.h"
#include "kernels/nn/nn.h"

#include <algorithm>
#include <cmath>

namespace bitlathe {

namespace {

template <class Body> void each(std::int64_t n, std::int64_t grain, Body body) {
  parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      body(i);
  });
}

constexpr std::int64_t dear = 4096, cheap = 65536; ///< values per piece

float silu_of(float x) { return x / (1.0f + std::exp(-x)); }
float gelu_of(float x) { return 0.5f * x * (1.0f + std::erf(x * 0.70710678118654752f)); }
float gelu_tanh_of(float x) {
  return 0.5f * x * (1.0f + std::tanh(0.79788456080286536f * (x + 0.044715f * x * x * x)));
}

} // namespace

void silu_mul(const float* gate, const float* up, std::int64_t n, float* out) {
  each(n, dear, [=](std::int64_t i) { out[i] = silu_of(gate[i]) * up[i]; });
}
void gelu_mul(const float* gate, const float* up, std::int64_t n, float* out) {
  each(n, dear, [=](std::int64_t i) { out[i] = gelu_of(gate[i]) * up[i]; });
}
void gelu_tanh_mul(const float* gate, const float* up, std::int64_t n, float* out) {
  each(n, dear, [=](std::int64_t i) { out[i] = gelu_tanh_of(gate[i]) * up[i]; });
}
void gelu(const float* x, std::int64_t n, float* out) {
  each(n, dear, [=](std::int64_t i) { out[i] = gelu_of(x[i]); });
}
void gelu_tanh(const float* x, std::int64_t n, float* out) {
  each(n, dear, [=](std::int64_t i) { out[i] = gelu_tanh_of(x[i]); });
}
void gelu_quick(const float* x, std::int64_t n, float* out) {
  each(n, dear, [=](std::int64_t i) { out[i] = x[i] / (1.0f + std::exp(-1.702f * x[i])); });
}
void silu(const float* x, std::int64_t n, float* out) {
  each(n, dear, [=](std::int64_t i) { out[i] = silu_of(x[i]); });
}
void relu(const float* x, std::int64_t n, float* out) {
  each(n, cheap, [=](std::int64_t i) { out[i] = x[i] > 0 ? x[i] : 0.0f; });
}
void add(const float* a, const float* b, std::int64_t n, float* out) {
  each(n, cheap, [=](std::int64_t i) { out[i] = a[i] + b[i]; });
}
void add_bias(float* x, const float* bias, std::int64_t tokens, std::int64_t dim) {
  const std::int64_t grain = std::max<std::int64_t>(1, cheap / std::max<std::int64_t>(1, dim));
  each(tokens, grain, [=](std::int64_t t) {
    for (std::int64_t i = 0; i < dim; ++i)
      x[t * dim + i] += bias[i];
  });
}

} // namespace bitlathe
