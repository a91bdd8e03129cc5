// SPDX-License-Identifier: Apache-2.0
#include "core/engine/block.h"

#include "core/engine/linear.h"

#include "kernels/nn/nn.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace bitlathe {

namespace {

/// out = act(x), and out = act(gate) * up.
struct Activation {
  std::string_view id;
  void (*plain)(const float* x, std::int64_t n, float* out);
  void (*gated)(const float* gate, const float* up, std::int64_t n, float* out);
};
constexpr std::array activations{
    Activation{"silu", silu, silu_mul}, Activation{"gelu", gelu, gelu_mul},
    Activation{"gelu_tanh", gelu_tanh, gelu_tanh_mul},
    Activation{"gelu_quick", gelu_quick, gelu_quick_mul}, Activation{"relu", relu, relu_mul}};

const Activation* find_activation(std::string_view id) {
  for (const Activation& activation : activations)
    if (activation.id == id)
      return &activation;
  return nullptr;
}

} // namespace

bool knows_activation(std::string_view id) { return find_activation(id) != nullptr; }

Result<void> check_runnable(const Checkpoint& checkpoint) {
  if (!checkpoint.spec)
    return Error{"unsupported",
                 "This model cannot be run: " + (checkpoint.why_not_runnable.empty()
                                                     ? "its architecture is not known"
                                                     : checkpoint.why_not_runnable),
                 checkpoint.path.string()};
  const ModelSpec& spec = *checkpoint.spec;
  if (spec.heads < 1 || spec.kv_heads < 1 || spec.heads % spec.kv_heads != 0 || spec.head_dim < 1 ||
      (spec.fused_qkv == "per_head" && spec.heads != spec.kv_heads) || spec.layers < 1 ||
      spec.vocab < 1)
    return Error{"bad-file",
                 "The configuration's heads do not fit together: " + std::to_string(spec.heads) +
                     " query heads, " + std::to_string(spec.kv_heads) + " key heads of " +
                     std::to_string(spec.head_dim) + " values",
                 checkpoint.path.string()};
  const auto rope_fits = [&](const RopeSpec& rope) {
    const auto pairs = std::size_t(rope.dims / 2);
    return rope.dims >= 0 && rope.dims % 2 == 0 && rope.dims <= spec.head_dim &&
           (rope.factors.empty() || rope.factors.size() == pairs) &&
           (rope.long_factors.empty() || rope.long_factors.size() == pairs);
  };
  if (!rope_fits(spec.rope) || !rope_fits(spec.local_rope) || !knows_activation(spec.activation) ||
      (spec.norm != "rms" && spec.norm != "layer") ||
      (!spec.windows.empty() && std::int64_t(spec.windows.size()) != spec.layers))
    return Error{"bad-file",
                 "The configuration's positions, activation or windows do not fit the model",
                 checkpoint.path.string()};
  return {};
}

BlockForward::BlockForward(const ModelSpec& spec, Compute& compute, ActivationTap tap)
    : spec_(spec), compute_(compute), tap_(std::move(tap)), rotation_(spec.rope),
      local_rotation_(spec.local_rope.dims > 0 ? spec.local_rope : spec.rope) {}

void BlockForward::tell_tap(const Linear& w, const float* x, std::int64_t n) const {
  if (tapped() && w.module->linear && w.module->weight.cols == w.cols()) // not a tied head
    tap_(*w.module, x, n);
}

Result<void> BlockForward::product(const Linear& w, const float* x, std::int64_t n,
                                   std::vector<float>& y, const Feedback* feedback) {
  if (feedback && feedback->stopped())
    return cancelled_error();
  y.resize(std::size_t(n * w.rows()));
  tell_tap(w, x, n);
  TRY(run_linear(compute_, w, x, n, y.data()));
  if (!w.bias.empty())
    add_bias(y.data(), w.bias.data(), n, w.rows());
  return {};
}

Result<void>
BlockForward::head(const Linear& head, const float* x, std::int64_t n,
                   const std::function<Result<void>(std::int64_t, std::span<const float>)>& sink,
                   const Feedback* feedback) {
  // As many positions at a time as fit 64 MiB.
  const std::int64_t vocab = spec_.vocab;
  const std::int64_t step = std::max<std::int64_t>(1, (std::int64_t(64) << 20) / (vocab * 4));
  for (std::int64_t at = 0; at < n; at += step) {
    const std::int64_t rows = std::min(step, n - at);
    TRY(product(head, x + at * spec_.hidden, rows, logits_, feedback));
    if (spec_.final_softcap > 0)
      softcap(logits_.data(), rows * vocab, spec_.final_softcap);
    for (std::int64_t r = 0; r < rows; ++r)
      TRY(sink(at + r, std::span<const float>(logits_).subspan(std::size_t(r * vocab),
                                                               std::size_t(vocab))));
  }
  return {};
}

void BlockForward::normalize(const Norm& norm, const float* x, std::int64_t tokens,
                             float* out) const {
  const auto dim = std::int64_t(norm.weight.size());
  if (spec_.norm == "layer")
    layer_norm(x, norm.weight.data(), norm.bias.empty() ? nullptr : norm.bias.data(), tokens, dim,
               spec_.norm_eps, out);
  else
    rms_norm(x, norm.weight.data(), tokens, dim, spec_.norm_eps, out);
}

void BlockForward::embed(const Linear& embedding, const Linear& positions,
                         std::span<const std::int32_t> ids, std::int64_t first, float* x) {
  const std::int64_t hidden = spec_.hidden, n = std::int64_t(ids.size());
  const MatrixView table = embedding.weight->view();
  for (std::int64_t t = 0; t < n; ++t)
    table.layout->decode(table, ids[std::size_t(t)], 0, hidden, x + t * hidden);
  if (spec_.embedding_scale != 1.0f)
    for (std::int64_t i = 0; i < n * hidden; ++i)
      x[i] *= spec_.embedding_scale;
  if (!positions.module)
    return;
  const MatrixView learned = positions.weight->view();
  h_.resize(std::size_t(hidden));
  for (std::int64_t t = 0; t < n; ++t) {
    learned.layout->decode(learned, first + t, 0, hidden, h_.data());
    add(x + t * hidden, h_.data(), hidden, x + t * hidden);
  }
}

/// Keys and values of n tokens in k_ and v_, queries of those from `from` on in q_.
Result<void> BlockForward::project(const DecoderLayer& layer, std::int64_t n, std::int64_t from,
                                   const Feedback* feedback) {
  const std::int64_t q = spec_.heads * spec_.head_dim, kv = spec_.kv_heads * spec_.head_dim;
  const std::int64_t m = n - from;
  if (!layer.qkv.module) {
    if (m > 0)
      TRY(product(layer.q, h_.data() + from * spec_.hidden, m, q_, feedback));
    TRY(product(layer.k, h_.data(), n, k_, feedback));
    return product(layer.v, h_.data(), n, v_, feedback);
  }
  TRY(product(layer.qkv, h_.data(), n, fused_, feedback));
  q_.resize(std::size_t(m * q));
  k_.resize(std::size_t(n * kv));
  v_.resize(k_.size());
  const bool per_head = spec_.fused_qkv == "per_head";
  const std::int64_t dim = spec_.head_dim;
  for (std::int64_t t = 0; t < n; ++t) {
    const float* row = fused_.data() + t * (q + 2 * kv);
    float* to_q = t >= from ? q_.data() + (t - from) * q : nullptr;
    if (!per_head) {
      if (to_q)
        std::copy_n(row, q, to_q);
      std::copy_n(row + q, kv, k_.data() + t * kv);
      std::copy_n(row + q + kv, kv, v_.data() + t * kv);
      continue;
    }
    for (std::int64_t head = 0; head < spec_.heads; ++head) {
      const float* part = row + head * 3 * dim;
      if (to_q)
        std::copy_n(part, dim, to_q + head * dim);
      std::copy_n(part + dim, dim, k_.data() + t * kv + head * dim);
      std::copy_n(part + 2 * dim, dim, v_.data() + t * kv + head * dim);
    }
  }
  return {};
}

/// What attention adds, in y_, for the tokens from `from` on (0 with several segments).
Result<void> BlockForward::attend(const DecoderLayer& layer, std::span<const Segment> segments,
                                  std::int64_t n, std::int64_t from, const Feedback* feedback) {
  const std::int64_t m = n - from, dim = spec_.head_dim;
  const std::int64_t q_row = spec_.heads * dim, kv_row = spec_.kv_heads * dim;
  TRY(project(layer, n, from, feedback));
  const auto norm_heads = [&](const Norm& norm, std::vector<float>& x) {
    if (norm) // of each head, or of all together
      normalize(norm, x.data(), std::int64_t(x.size() / norm.weight.size()), x.data());
  };
  norm_heads(layer.k_norm, k_);
  if (m > 0)
    norm_heads(layer.q_norm, q_);
  Rotation& rotation = layer.window > 0 ? local_rotation_ : rotation_;
  std::int64_t row = 0;
  for (const Segment& s : segments) {
    float* k = k_.data() + row * kv_row;
    if (rotation.turns())
      rotation.at(s.total).apply(k, s.first, s.tokens, spec_.kv_heads, dim);
    s.cache->store(s.first, s.tokens, k, v_.data() + row * kv_row);
    if (rotation.turns() && from < s.tokens)
      rotation.at(s.total).apply(q_.data() + row * q_row, s.first + from, s.tokens - from,
                                 spec_.heads, dim);
    row += s.tokens;
  }
  if (m == 0)
    return {};
  mixed_.resize(q_.size());
  if (feedback && feedback->stopped())
    return cancelled_error();
  const float scale =
      spec_.attention_scale > 0 ? spec_.attention_scale : 1.0f / std::sqrt(float(dim));
  row = 0;
  for (const Segment& s : segments) {
    attention(q_.data() + row * q_row, s.first + from, s.tokens - from, spec_.heads, *s.cache,
              scale, mixed_.data() + row * q_row, layer.window, spec_.attention_softcap);
    row += s.tokens;
  }
  TRY(product(layer.o, mixed_.data(), m, y_, feedback));
  if (layer.post_attention_norm)
    normalize(layer.post_attention_norm, y_.data(), m, y_.data());
  return {};
}

/// What the feed-forward adds for m tokens of h, in `out`.
Result<void> BlockForward::feed(const DecoderLayer& layer, const float* h, std::int64_t m,
                                std::vector<float>& out, const Feedback* feedback) {
  const std::int64_t ffn = spec_.ffn;
  const Activation& activation = *find_activation(spec_.activation);
  if (layer.gate_up.module) {
    TRY(product(layer.gate_up, h, m, fused_, feedback));
    gate_.resize(std::size_t(m * ffn));
    for (std::int64_t t = 0; t < m; ++t) {
      const float* row = fused_.data() + t * 2 * ffn;
      activation.gated(row, row + ffn, ffn, gate_.data() + t * ffn);
    }
  } else if (layer.gate.module) {
    TRY(product(layer.gate, h, m, gate_, feedback));
    TRY(product(layer.up, h, m, up_, feedback));
    activation.gated(gate_.data(), up_.data(), m * ffn, gate_.data());
  } else {
    TRY(product(layer.up, h, m, gate_, feedback));
    activation.plain(gate_.data(), m * ffn, gate_.data());
  }
  TRY(product(layer.down, gate_.data(), m, out, feedback));
  if (layer.post_mlp_norm)
    normalize(layer.post_mlp_norm, out.data(), m, out.data());
  return {};
}

Result<void> BlockForward::run(const DecoderLayer& layer, KvCache& cache, std::int64_t first,
                               std::int64_t total, float* x, std::int64_t n, std::int64_t from,
                               const Feedback* feedback) {
  const Segment one{&cache, first, total, n};
  return run(layer, std::span(&one, 1), x, n, from, feedback);
}

Result<void> BlockForward::run(const DecoderLayer& layer, std::span<const Segment> segments,
                               float* x, const Feedback* feedback) {
  std::int64_t n = 0;
  for (const Segment& segment : segments)
    n += segment.tokens;
  return run(layer, segments, x, n, 0, feedback);
}

Result<void> BlockForward::run(const DecoderLayer& layer, std::span<const Segment> segments,
                               float* x, std::int64_t n, std::int64_t from,
                               const Feedback* feedback) {
  const std::int64_t hidden = spec_.hidden, m = n - from;
  h_.resize(std::size_t(n * hidden));
  normalize(layer.attention_norm, x, n, h_.data());
  TRY(attend(layer, segments, n, from, feedback));
  if (m == 0)
    return {};
  x += from * hidden;
  float* h = h_.data() + from * hidden;
  if (spec_.parallel_residual) {
    if (layer.mlp_norm)
      normalize(layer.mlp_norm, x, m, h);
    TRY(feed(layer, h, m, z_, feedback));
    add(x, z_.data(), m * hidden, x);
    add(x, y_.data(), m * hidden, x);
    return {};
  }
  add(x, y_.data(), m * hidden, x);
  normalize(layer.mlp_norm, x, m, h);
  TRY(feed(layer, h, m, y_, feedback));
  add(x, y_.data(), m * hidden, x);
  return {};
}

} // namespace bitlathe
