// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/parallel.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/kernels.h"
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

constexpr std::int64_t dear = 16384, cheap = 65536; ///< values per piece

/// Pieces start at multiples of 16, so that a value's lane, and with it the code that computes it,
/// does not depend on the number of threads.
void activate(int kind, const float* x, const float* up, std::int64_t n, float* out) {
  constexpr std::int64_t unit = 16;
  const auto& k = active_cpu_kernels();
  parallel_for((n + unit - 1) / unit, dear / unit, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t first = begin * unit, last = std::min(n, end * unit);
    k.activate(kind, x + first, up ? up + first : nullptr, last - first, out + first);
  });
}

} // namespace

void silu_mul(const float* gate, const float* up, std::int64_t n, float* out) {
  activate(cpu::act_silu, gate, up, n, out);
}
void gelu_mul(const float* gate, const float* up, std::int64_t n, float* out) {
  activate(cpu::act_gelu, gate, up, n, out);
}
void gelu_tanh_mul(const float* gate, const float* up, std::int64_t n, float* out) {
  activate(cpu::act_gelu_tanh, gate, up, n, out);
}
void gelu_quick_mul(const float* gate, const float* up, std::int64_t n, float* out) {
  activate(cpu::act_gelu_quick, gate, up, n, out);
}
void relu_mul(const float* gate, const float* up, std::int64_t n, float* out) {
  activate(cpu::act_relu, gate, up, n, out);
}
void gelu(const float* x, std::int64_t n, float* out) {
  activate(cpu::act_gelu, x, nullptr, n, out);
}
void gelu_tanh(const float* x, std::int64_t n, float* out) {
  activate(cpu::act_gelu_tanh, x, nullptr, n, out);
}
void gelu_quick(const float* x, std::int64_t n, float* out) {
  activate(cpu::act_gelu_quick, x, nullptr, n, out);
}
void silu(const float* x, std::int64_t n, float* out) {
  activate(cpu::act_silu, x, nullptr, n, out);
}
void relu(const float* x, std::int64_t n, float* out) {
  activate(cpu::act_relu, x, nullptr, n, out);
}
void softcap(float* x, std::int64_t n, float cap) {
  each(n, dear, [=](std::int64_t i) { x[i] = cap * std::tanh(x[i] / cap); });
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
