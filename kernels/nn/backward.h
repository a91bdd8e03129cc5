// SPDX-License-Identifier: Apache-2.0
// What the backward pass of a decoder needs besides products. As kernels/nn/nn.h: f32, row-major
// [tokens][dim], the same numbers at any thread count. Gradients with respect to parameters are
// added to what is there; others are overwritten.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace bitlathe {

/// Back through rms_norm(): dx from dy and the norm's input x. `weight` and `dweight` may be null;
/// dx may be dy.
void rms_norm_backward(const float* x, const float* weight, const float* dy, std::int64_t tokens,
                       std::int64_t dim, float eps, float* dx, float* dweight);
/// Back through layer_norm().
void layer_norm_backward(const float* x, const float* weight, const float* dy, std::int64_t tokens,
                         std::int64_t dim, float eps, float* dx, float* dweight, float* dbias);

/// A function of one value, by the name in ModelSpec::activation, with its slope.
struct ActivationKind {
  std::string_view id;
  /// out = f(x), or f(x) * up when `up` is not null.
  void (*forward)(const float* x, const float* up, std::int64_t n, float* out);
  /// dx = dy * f'(x), or with `up`: dx = dy * up * f'(x) and dup = dy * f(x). dx may be dy, unless
  /// there is an `up`.
  void (*backward)(const float* x, const float* up, const float* dy, std::int64_t n, float* dx,
                   float* dup);
};
/// nullptr when unknown.
const ActivationKind* find_activation_kind(std::string_view id);

/// x = e^(x * scale), on the calling thread.
void exponential(float* x, std::int64_t n, float scale);

/// Causal attention of whole sequences, as attention() in nn.h without a cache.
struct AttentionShape {
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0;
  std::int64_t window = 0; ///< 0: none
  float scale = 1, softcap = 0;
};
/// q and out are [tokens][heads * head_dim], k and v [tokens][kv_heads * head_dim]; the sequences
/// (their lengths add up to tokens) follow each other. `log_sums` ([heads][tokens]) is what the way
/// back needs.
void attention_forward(const AttentionShape& shape, std::span<const std::int64_t> lengths,
                       const float* q, const float* k, const float* v, float* out, float* log_sums);
void attention_backward(const AttentionShape& shape, std::span<const std::int64_t> lengths,
                        const float* q, const float* k, const float* v, const float* out,
                        const float* log_sums, const float* dout, float* dq, float* dk, float* dv);

/// sums[c] += sum over tokens of x[t][c], in order.
void add_column_sums(const float* x, std::int64_t tokens, std::int64_t dim, float* sums);

} // namespace bitlathe
