// SPDX-License-Identifier: Apache-2.0
// The forward pass of a decoder, whatever its architecture: ModelSpec and the parts of a layer say
// what happens. Weights stay packed; activations are f32.
#include "core/engine/weights.h"
#include "kernels/nn/nn.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace bitlathe {

Result<KvScheme> parse_kv(const std::string& text) {
  const auto comma = text.find(',');
  KvScheme out;
  out.keys = text.substr(0, comma);
  out.values = comma == std::string::npos ? out.keys : text.substr(comma + 1);
  for (const std::string& id : {out.keys, out.values}) {
    const auto known = kv_layout_ids();
    if (std::find(known.begin(), known.end(), id) == known.end())
      return kv_layout(id, 32).error(); // names the known ones
  }
  return out;
}

namespace {

class DecoderSequence final : public Sequence {
 public:
  std::int64_t length() const override { return length_; }
  void clear() override {
    length_ = 0;
    ids_.clear();
  }
  std::uint64_t bytes() const override {
    std::uint64_t sum = 0;
    for (const KvCache& cache : layers_)
      sum += cache.bytes();
    return sum;
  }

  /// Makes room for `needed` tokens: memory follows the length, not the capacity.
  Result<void> reserve(std::int64_t needed) {
    if (needed <= allocated_)
      return {};
    const std::int64_t size = std::min(std::max({needed, 2 * allocated_, first_size}), capacity_);
    try {
      for (KvCache& cache : layers_) {
        TRY_ASSIGN(KvCache larger,
                   KvCache::create(kv_layout_id(cache.key_layout), kv_layout_id(cache.value_layout),
                                   cache.kv_heads, cache.key_layout.head_dim, size));
        copy_rows(cache, larger, cache.key_layout, cache.keys, larger.keys);
        copy_rows(cache, larger, cache.value_layout, cache.values, larger.values);
        cache = std::move(larger);
      }
    } catch (const std::exception&) { // bad_alloc, or a size beyond what a vector can be asked for
      return Error{"out-of-memory",
                   "There is not enough memory for the keys and values of " + std::to_string(size) +
                       " tokens",
                   {}};
    }
    allocated_ = size;
    return {};
  }

  std::vector<KvCache> layers_;
  std::vector<std::int32_t> ids_; ///< kept where they may have to be run again
  std::int64_t length_ = 0, capacity_ = 0;

 private:
  static constexpr std::int64_t first_size = 256;

  void copy_rows(const KvCache& from, const KvCache& to, const KvLayout& layout,
                 const std::vector<std::byte>& source, std::vector<std::byte>& target) const {
    for (std::int64_t head = 0; head < from.kv_heads; ++head)
      std::copy_n(source.begin() + head * from.capacity * layout.row_bytes,
                  length_ * layout.row_bytes,
                  target.begin() + head * to.capacity * layout.row_bytes);
  }

  std::int64_t allocated_ = 0;
};

/// Tokens run together. More than this gains nothing; fewer where a single product would keep a
/// cancel waiting.
std::int64_t batch_size(const DecoderWeights& weights) {
  constexpr std::int64_t most = 512, fewest = 64, operations = 4'000'000'000;
  return std::clamp(operations / (2 * std::max<std::int64_t>(weights.largest, 1)), fewest, most);
}

/// The rotation for sequences of any length: scaling may depend on it.
class Rotation {
 public:
  explicit Rotation(const RopeSpec& spec)
      : spec_(spec), rope_(make(spec.theta, spec.factors)),
        long_rope_(spec.long_factors.empty() ? rope_ : make(spec.theta, spec.long_factors)) {}

  bool turns() const { return spec_.dims > 0; }
  /// Whether a sequence of `before` tokens must be run again when it grows to `after`.
  bool changes(std::int64_t before, std::int64_t after) const {
    return !spec_.long_factors.empty() && before > 0 && before <= spec_.original_context &&
           after > spec_.original_context;
  }
  Rope& at(std::int64_t length) {
    if (length <= spec_.original_context || spec_.original_context == 0)
      return rope_;
    if (spec_.dynamic_factor > 0 && length != dynamic_length_) {
      const double factor = double(spec_.dynamic_factor), dims = double(spec_.dims);
      const double grown =
          factor * double(length) / double(spec_.original_context) - (factor - 1.0);
      long_rope_ = make(double(spec_.theta) * std::pow(grown, dims / (dims - 2)), spec_.factors);
      dynamic_length_ = length;
    }
    return long_rope_;
  }

 private:
  Rope make(double theta, const std::vector<float>& factors) const {
    return Rope(spec_.dims, theta, factors, spec_.attention_factor);
  }

  const RopeSpec& spec_;
  Rope rope_, long_rope_; ///< up to and beyond the original context
  std::int64_t dynamic_length_ = 0;
};

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

class Decoder final : public Engine {
 public:
  Decoder(std::shared_ptr<const Checkpoint> checkpoint, Compute& compute, DecoderWeights weights,
          KvScheme kv, ActivationTap tap)
      : checkpoint_(std::move(checkpoint)), compute_(compute), weights_(std::move(weights)),
        kv_(std::move(kv)), tap_(std::move(tap)), spec_(*checkpoint_->spec),
        activation_(*find_activation(spec_.activation)), rotation_(spec_.rope),
        local_rotation_(spec_.local_rope.dims > 0 ? spec_.local_rope : spec_.rope),
        batch_(batch_size(weights_)) {}

  const ModelSpec& spec() const override { return spec_; }
  const Checkpoint& checkpoint() const override { return *checkpoint_; }
  std::vector<std::string> notes() const override { return weights_.notes; }
  std::uint64_t weight_bytes() const override { return weights_.bytes; }

  Result<std::unique_ptr<Sequence>> new_sequence(std::int64_t capacity) override {
    if (capacity < 1)
      return Error{"bad-argument", "A sequence needs room for at least one token", {}};
    auto sequence = std::make_unique<DecoderSequence>();
    sequence->capacity_ = capacity;
    for (std::int64_t i = 0; i < spec_.layers; ++i) {
      TRY_ASSIGN(auto cache,
                 KvCache::create(kv_.keys, kv_.values, spec_.kv_heads, spec_.head_dim, 0));
      sequence->layers_.push_back(std::move(cache));
    }
    TRY(sequence->reserve(1));
    return std::unique_ptr<Sequence>(std::move(sequence));
  }

  Result<void> forward(Sequence& sequence, std::span<const std::int32_t> ids,
                       std::int64_t first_wanted, const LogitSink& sink,
                       const Feedback* feedback) override {
    auto& state = static_cast<DecoderSequence&>(sequence);
    const auto count = std::int64_t(ids.size());
    for (const std::int32_t id : ids)
      if (id < 0 || id >= spec_.vocab)
        return Error{"bad-argument",
                     "Token " + std::to_string(id) + " is outside the vocabulary of " +
                         std::to_string(spec_.vocab),
                     checkpoint_->path.string()};
    if (state.length_ + count > state.capacity_)
      return Error{"bad-argument",
                   "The sequence has room for " + std::to_string(state.capacity_) +
                       " tokens, not for " + std::to_string(state.length_ + count),
                   {}};
    if (weights_.positions.module && state.length_ + count > weights_.positions.rows())
      return Error{"bad-argument",
                   "The model has learned positions for " +
                       std::to_string(weights_.positions.rows()) + " tokens, not for " +
                       std::to_string(state.length_ + count),
                   checkpoint_->path.string()};
    TRY(state.reserve(state.length_ + count));
    total_ = state.length_ + count;
    if (rotation_.changes(state.length_, total_))
      TRY(run_again(state, feedback));
    if (!spec_.rope.long_factors.empty())
      state.ids_.insert(state.ids_.end(), ids.begin(), ids.end());
    for (std::int64_t begin = 0; begin < count; begin += batch_) {
      const std::int64_t n = std::min(batch_, count - begin);
      const std::int64_t wanted = std::clamp<std::int64_t>(first_wanted - begin, 0, n);
      TRY(run_blocks(state, ids.subspan(std::size_t(begin), std::size_t(n)), wanted, feedback));
      state.length_ += n;
      TRY(run_head(n, wanted, begin, sink, feedback));
    }
    return {};
  }

 private:
  bool tapped() const { return tap_ && !replaying_; }

  void tell_tap(const Linear& w, const float* x, std::int64_t n) const {
    if (tapped() && w.module->linear && w.module->weight.cols == w.cols()) // not a tied head
      tap_(*w.module, x, n);
  }

  Result<void> product(const Linear& w, const float* x, std::int64_t n, std::vector<float>& y,
                       const Feedback* feedback) {
    if (feedback && feedback->stopped())
      return cancelled_error();
    y.resize(std::size_t(n * w.rows()));
    tell_tap(w, x, n);
    TRY(w.int8 ? compute_.matmul_int8(x, n, *w.loaded, y.data())
               : compute_.matmul(x, n, *w.loaded, y.data()));
    if (!w.bias.empty())
      add_bias(y.data(), w.bias.data(), n, w.rows());
    return {};
  }

  /// Stores the keys and values of the whole sequence once more.
  Result<void> run_again(DecoderSequence& state, const Feedback* feedback) {
    const std::int64_t length = state.length_;
    replaying_ = true;
    state.length_ = 0;
    Result<void> done;
    while (done && state.length_ < length) {
      const std::int64_t n = std::min(batch_, length - state.length_);
      const std::span ids(state.ids_);
      done =
          run_blocks(state, ids.subspan(std::size_t(state.length_), std::size_t(n)), n, feedback);
      state.length_ += n;
    }
    replaying_ = false;
    state.length_ = length;
    return done;
  }

  void normalize(const Norm& norm, const float* x, std::int64_t tokens, float* out) const {
    const auto dim = std::int64_t(norm.weight.size());
    if (spec_.norm == "layer")
      layer_norm(x, norm.weight.data(), norm.bias.empty() ? nullptr : norm.bias.data(), tokens, dim,
                 spec_.norm_eps, out);
    else
      rms_norm(x, norm.weight.data(), tokens, dim, spec_.norm_eps, out);
  }

  /// Token embeddings in x_.
  void embed(std::span<const std::int32_t> ids, std::int64_t first) {
    const std::int64_t hidden = spec_.hidden, n = std::int64_t(ids.size());
    x_.resize(std::size_t(n * hidden));
    const MatrixView table = weights_.embedding.weight->view();
    for (std::int64_t t = 0; t < n; ++t)
      table.layout->decode(table, ids[std::size_t(t)], 0, hidden, x_.data() + t * hidden);
    if (spec_.embedding_scale != 1.0f)
      for (float& x : x_)
        x *= spec_.embedding_scale;
    if (!weights_.positions.module)
      return;
    const MatrixView positions = weights_.positions.weight->view();
    h_.resize(std::size_t(hidden));
    for (std::int64_t t = 0; t < n; ++t) {
      positions.layout->decode(positions, first + t, 0, hidden, h_.data());
      add(x_.data() + t * hidden, h_.data(), hidden, x_.data() + t * hidden);
    }
  }

  /// Keys and values of n tokens in k_ and v_, queries of those from `from` on in q_.
  Result<void> project(const DecoderLayer& layer, std::int64_t n, std::int64_t from,
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

  /// What attention adds, in y_, for the tokens from `from` on.
  Result<void> attend(const DecoderLayer& layer, KvCache& cache, std::int64_t first, std::int64_t n,
                      std::int64_t from, const Feedback* feedback) {
    const std::int64_t m = n - from, dim = spec_.head_dim;
    TRY(project(layer, n, from, feedback));
    const auto norm_heads = [&](const Norm& norm, std::vector<float>& x) {
      if (norm) // of each head, or of all together
        normalize(norm, x.data(), std::int64_t(x.size() / norm.weight.size()), x.data());
    };
    norm_heads(layer.k_norm, k_);
    Rotation& rotation = layer.window > 0 ? local_rotation_ : rotation_;
    if (rotation.turns())
      rotation.at(total_).apply(k_.data(), first, n, spec_.kv_heads, dim);
    cache.store(first, n, k_.data(), v_.data());
    if (m == 0)
      return {};
    norm_heads(layer.q_norm, q_);
    if (rotation.turns())
      rotation.at(total_).apply(q_.data(), first + from, m, spec_.heads, dim);
    mixed_.resize(q_.size());
    if (feedback && feedback->stopped())
      return cancelled_error();
    const float scale =
        spec_.attention_scale > 0 ? spec_.attention_scale : 1.0f / std::sqrt(float(dim));
    attention(q_.data(), first + from, m, spec_.heads, cache, scale, mixed_.data(), layer.window,
              spec_.attention_softcap);
    TRY(product(layer.o, mixed_.data(), m, y_, feedback));
    if (layer.post_attention_norm)
      normalize(layer.post_attention_norm, y_.data(), m, y_.data());
    return {};
  }

  /// What the feed-forward adds for m tokens of h, in `out`.
  Result<void> feed(const DecoderLayer& layer, const float* h, std::int64_t m,
                    std::vector<float>& out, const Feedback* feedback) {
    const std::int64_t ffn = spec_.ffn;
    if (layer.gate_up.module) {
      TRY(product(layer.gate_up, h, m, fused_, feedback));
      gate_.resize(std::size_t(m * ffn));
      for (std::int64_t t = 0; t < m; ++t) {
        const float* row = fused_.data() + t * 2 * ffn;
        activation_.gated(row, row + ffn, ffn, gate_.data() + t * ffn);
      }
    } else if (layer.gate.module) {
      TRY(product(layer.gate, h, m, gate_, feedback));
      TRY(product(layer.up, h, m, up_, feedback));
      activation_.gated(gate_.data(), up_.data(), m * ffn, gate_.data());
    } else {
      TRY(product(layer.up, h, m, gate_, feedback));
      activation_.plain(gate_.data(), m * ffn, gate_.data());
    }
    TRY(product(layer.down, gate_.data(), m, out, feedback));
    if (layer.post_mlp_norm)
      normalize(layer.post_mlp_norm, out.data(), m, out.data());
    return {};
  }

  /// Leaves the residual stream of the tokens from `wanted` on in x_ (row 0 = token 0). The last
  /// block does nothing for tokens before `wanted` except store their keys and values.
  Result<void> run_blocks(DecoderSequence& state, std::span<const std::int32_t> ids,
                          std::int64_t wanted, const Feedback* feedback) {
    const auto n = std::int64_t(ids.size());
    const std::int64_t hidden = spec_.hidden, first = state.length_;
    embed(ids, first);
    h_.resize(std::size_t(n * hidden));
    for (std::int64_t i = 0; i < spec_.layers; ++i) {
      const DecoderLayer& layer = weights_.layers[std::size_t(i)];
      normalize(layer.attention_norm, x_.data(), n, h_.data());
      // Rows from here on go through the rest of the block. Taps must see every token.
      const std::int64_t from = i + 1 == spec_.layers && !tapped() ? wanted : 0, m = n - from;
      TRY(attend(layer, state.layers_[std::size_t(i)], first, n, from, feedback));
      if (m == 0)
        continue;
      float* x = x_.data() + from * hidden;
      float* h = h_.data() + from * hidden;
      if (spec_.parallel_residual) {
        if (layer.mlp_norm)
          normalize(layer.mlp_norm, x, m, h);
        TRY(feed(layer, h, m, z_, feedback));
        add(x, z_.data(), m * hidden, x);
        add(x, y_.data(), m * hidden, x);
        continue;
      }
      add(x, y_.data(), m * hidden, x);
      normalize(layer.mlp_norm, x, m, h);
      TRY(feed(layer, h, m, y_, feedback));
      add(x, y_.data(), m * hidden, x);
    }
    return {};
  }

  Result<void> run_head(std::int64_t n, std::int64_t wanted, std::int64_t begin,
                        const LogitSink& sink, const Feedback* feedback) {
    const std::int64_t hidden = spec_.hidden;
    const std::int64_t from = tapped() ? 0 : wanted;
    if (from == n)
      return {};
    normalize(weights_.final_norm, x_.data() + from * hidden, n - from, h_.data() + from * hidden);
    if (tapped() && wanted == n) { // nobody wants the product
      tell_tap(weights_.head, h_.data(), n);
      return {};
    }
    // As many positions at a time as fit 64 MiB.
    const std::int64_t step =
        std::max<std::int64_t>(1, (std::int64_t(64) << 20) / (spec_.vocab * 4));
    for (std::int64_t at = from; at < n; at += step) {
      const std::int64_t rows = std::min(step, n - at);
      TRY(product(weights_.head, h_.data() + at * hidden, rows, logits_, feedback));
      if (spec_.final_softcap > 0)
        softcap(logits_.data(), rows * spec_.vocab, spec_.final_softcap);
      for (std::int64_t r = std::max<std::int64_t>(0, wanted - at); r < rows; ++r)
        TRY(sink(begin + at + r, std::span<const float>(logits_).subspan(
                                     std::size_t(r * spec_.vocab), std::size_t(spec_.vocab))));
    }
    return {};
  }

  const std::shared_ptr<const Checkpoint> checkpoint_;
  Compute& compute_;
  const DecoderWeights weights_;
  const KvScheme kv_;
  const ActivationTap tap_;
  const ModelSpec& spec_;
  const Activation& activation_;
  Rotation rotation_, local_rotation_;
  const std::int64_t batch_;
  std::int64_t total_ = 0; ///< length of the sequence after the running call
  bool replaying_ = false;
  std::vector<float> x_, h_, q_, k_, v_, fused_, mixed_, y_, z_, gate_, up_, logits_;
};

} // namespace

Result<std::unique_ptr<Engine>> Engine::create(std::shared_ptr<const Checkpoint> checkpoint,
                                               Compute& compute, const EngineOptions& options) {
  if (!checkpoint->spec)
    return Error{"unsupported",
                 "This model cannot be run: " + (checkpoint->why_not_runnable.empty()
                                                     ? "its architecture is not known"
                                                     : checkpoint->why_not_runnable),
                 checkpoint->path.string()};
  const ModelSpec& spec = *checkpoint->spec;
  if (spec.heads < 1 || spec.kv_heads < 1 || spec.heads % spec.kv_heads != 0 || spec.head_dim < 1 ||
      (spec.fused_qkv == "per_head" && spec.heads != spec.kv_heads) || spec.layers < 1 ||
      spec.vocab < 1)
    return Error{"bad-file",
                 "The configuration's heads do not fit together: " + std::to_string(spec.heads) +
                     " query heads, " + std::to_string(spec.kv_heads) + " key heads of " +
                     std::to_string(spec.head_dim) + " values",
                 checkpoint->path.string()};
  const auto rope_fits = [&](const RopeSpec& rope) {
    const auto pairs = std::size_t(rope.dims / 2);
    return rope.dims >= 0 && rope.dims % 2 == 0 && rope.dims <= spec.head_dim &&
           (rope.factors.empty() || rope.factors.size() == pairs) &&
           (rope.long_factors.empty() || rope.long_factors.size() == pairs);
  };
  if (!rope_fits(spec.rope) || !rope_fits(spec.local_rope) || !find_activation(spec.activation) ||
      (spec.norm != "rms" && spec.norm != "layer") ||
      (!spec.windows.empty() && std::int64_t(spec.windows.size()) != spec.layers))
    return Error{"bad-file",
                 "The configuration's positions, activation or windows do not fit the model",
                 checkpoint->path.string()};
  if (!options.activations.empty() && options.activations != "none" &&
      options.activations != "int8-token-dynamic")
    return Error{"unsupported",
                 "The activation scheme " + options.activations +
                     " cannot be run; none and int8-token-dynamic can",
                 {}};
  KvScheme kv = options.kv.value_or(KvScheme{checkpoint->kv_keys, checkpoint->kv_values});
  // Halves move single logits by more than 1e-3: too much for what others are measured against.
  if (!options.kv && !checkpoint->quantized() && kv.keys == "f16" && kv.values == "f16")
    kv = {"f32", "f32"};
  TRY(kv_layout(kv.keys, spec.head_dim));
  TRY(kv_layout(kv.values, spec.head_dim));
  TRY_ASSIGN(DecoderWeights weights, load_decoder_weights(*checkpoint, compute, options));
  return std::unique_ptr<Engine>(std::make_unique<Decoder>(std::move(checkpoint), compute,
                                                           std::move(weights), kv, options.tap));
}

} // namespace bitlathe
