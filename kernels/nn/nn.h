// SPDX-License-Identifier: Apache-2.0
// What a decoder needs besides matrix products. Everything is f32, row-major [tokens][dim],
// parallel where it pays, and gives the same numbers at any thread count. Outputs may be the input
// unless said otherwise. Vector code may fuse multiply and add: between instruction sets results
// differ by rounding.
#pragma once

#include "kernels/nn/kv.h"

#include <cstdint>
#include <span>
#include <vector>

namespace bitlathe {

/// x / sqrt(mean(x^2) + eps) * weight. `weight` may be null. The mean is taken in f64.
void rms_norm(const float* x, const float* weight, std::int64_t tokens, std::int64_t dim, float eps,
              float* out);
/// (x - mean) / sqrt(variance + eps) * weight + bias; weight and bias may be null.
void layer_norm(const float* x, const float* weight, const float* bias, std::int64_t tokens,
                std::int64_t dim, float eps, float* out);

/// Rotary positions, half-split (Hugging Face): pair (i, i + rotary/2) of the first `rotary` values
/// of every head turns by position * theta^(-2i/rotary) / factors[i]. Angles are f64. Cosine and
/// sine are multiplied by `scale`.
class Rope {
 public:
  /// `factors` is empty or has rotary/2 entries.
  Rope(std::int64_t rotary, double theta, std::span<const float> factors = {}, float scale = 1);
  /// Turns positions first .. first + tokens - 1 of x[tokens][heads * head_dim] in place.
  void apply(float* x, std::int64_t first, std::int64_t tokens, std::int64_t heads,
             std::int64_t head_dim);

 private:
  void prepare(std::int64_t first, std::int64_t tokens);
  std::vector<double> frequency_;
  double scale_ = 1;
  std::vector<float> cos_, sin_; ///< [tokens][rotary/2] of the prepared range
  std::int64_t first_ = 0, tokens_ = 0;
};

/// Softmax attention over a cache: causal, grouped queries (heads is a multiple of cache.kv_heads;
/// head h reads kv head h / (heads / kv_heads)). Token t of q[tokens][heads * head_dim] stands at
/// position first + t and sees positions max(0, first + t + 1 - window) .. first + t (window 0: no
/// limit); they must be stored already. scores = q.k * scale, and with a cap (0: none) cap *
/// tanh(score / cap). `out` must not be `q`.
void attention(const float* q, std::int64_t first, std::int64_t tokens, std::int64_t heads,
               const KvCache& cache, float scale, float* out, std::int64_t window = 0,
               float softcap = 0);

/// out[i] = silu(gate[i]) * up[i], and the same with the others. n values.
void silu_mul(const float* gate, const float* up, std::int64_t n, float* out);
void gelu_mul(const float* gate, const float* up, std::int64_t n, float* out);
void gelu_tanh_mul(const float* gate, const float* up, std::int64_t n, float* out);
void gelu_quick_mul(const float* gate, const float* up, std::int64_t n, float* out);
void relu_mul(const float* gate, const float* up, std::int64_t n, float* out);
/// gelu by the error function; by the tanh formula; x * sigmoid(1.702 x); silu; max(x, 0).
void gelu(const float* x, std::int64_t n, float* out);
void gelu_tanh(const float* x, std::int64_t n, float* out);
void gelu_quick(const float* x, std::int64_t n, float* out);
void silu(const float* x, std::int64_t n, float* out);
void relu(const float* x, std::int64_t n, float* out);
/// x = cap * tanh(x / cap).
void softcap(float* x, std::int64_t n, float cap);
/// out = a + b.
void add(const float* a, const float* b, std::int64_t n, float* out);
/// x[t][i] += bias[i].
void add_bias(float* x, const float* bias, std::int64_t tokens, std::int64_t dim);

} // namespace bitlathe
