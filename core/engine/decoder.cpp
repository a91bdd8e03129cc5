// SPDX-License-Identifier: Apache-2.0
// The forward pass of a pre-norm decoder. Weights stay packed; activations are f32.
#include "core/engine/weights.h"
#include "kernels/nn/nn.h"

#include <algorithm>
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
  void clear() override { length_ = 0; }
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

class Decoder final : public Engine {
 public:
  Decoder(std::shared_ptr<const Checkpoint> checkpoint, Compute& compute, DecoderWeights weights,
          KvScheme kv, ActivationTap tap)
      : checkpoint_(std::move(checkpoint)), compute_(compute), weights_(std::move(weights)),
        kv_(std::move(kv)), tap_(std::move(tap)), spec_(*checkpoint_->spec),
        rope_(spec_.head_dim, double(spec_.rope_theta), spec_.rope_factors),
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
    TRY(state.reserve(state.length_ + count));
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
  void tell_tap(const Linear& w, const float* x, std::int64_t n) const {
    if (tap_ && w.module->linear && w.module->weight.cols == w.cols()) // not a tied head
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

  /// Leaves the residual stream of the tokens from `wanted` on in x_ (row 0 = token 0). The last
  /// block does nothing for tokens before `wanted` except store their keys and values.
  Result<void> run_blocks(DecoderSequence& state, std::span<const std::int32_t> ids,
                          std::int64_t wanted, const Feedback* feedback) {
    const auto n = std::int64_t(ids.size());
    const std::int64_t hidden = spec_.hidden, first = state.length_;
    x_.resize(std::size_t(n * hidden));
    const MatrixView table = weights_.embedding.weight->view();
    for (std::int64_t t = 0; t < n; ++t)
      table.layout->decode(table, ids[std::size_t(t)], 0, hidden, x_.data() + t * hidden);
    const float scale = 1.0f / std::sqrt(float(spec_.head_dim));
    for (std::int64_t i = 0; i < spec_.layers; ++i) {
      const DecoderLayer& layer = weights_.layers[std::size_t(i)];
      KvCache& cache = state.layers_[std::size_t(i)];
      h_.resize(std::size_t(n * hidden));
      rms_norm(x_.data(), layer.attention_norm.data(), n, hidden, spec_.norm_eps, h_.data());
      // Rows from here on go through the rest of the block. Taps must see every token.
      const std::int64_t from = i + 1 == spec_.layers && !tap_ ? wanted : 0, m = n - from;
      float* x = x_.data() + from * hidden;
      if (m > 0)
        TRY(product(layer.q, h_.data() + from * hidden, m, q_, feedback));
      TRY(product(layer.k, h_.data(), n, k_, feedback));
      TRY(product(layer.v, h_.data(), n, v_, feedback));
      rope_.apply(k_.data(), first, n, spec_.kv_heads, spec_.head_dim);
      cache.store(first, n, k_.data(), v_.data());
      if (m == 0)
        continue;
      rope_.apply(q_.data(), first + from, m, spec_.heads, spec_.head_dim);
      mixed_.resize(q_.size());
      if (feedback && feedback->stopped())
        return cancelled_error();
      attention(q_.data(), first + from, m, spec_.heads, cache, scale, mixed_.data());
      TRY(product(layer.o, mixed_.data(), m, y_, feedback));
      add(x, y_.data(), m * hidden, x);

      rms_norm(x, layer.mlp_norm.data(), m, hidden, spec_.norm_eps, h_.data());
      TRY(product(layer.gate, h_.data(), m, gate_, feedback));
      TRY(product(layer.up, h_.data(), m, up_, feedback));
      silu_mul(gate_.data(), up_.data(), m * spec_.ffn, gate_.data());
      TRY(product(layer.down, gate_.data(), m, y_, feedback));
      add(x, y_.data(), m * hidden, x);
    }
    return {};
  }

  Result<void> run_head(std::int64_t n, std::int64_t wanted, std::int64_t begin,
                        const LogitSink& sink, const Feedback* feedback) {
    const std::int64_t hidden = spec_.hidden;
    const std::int64_t from = tap_ ? 0 : wanted;
    if (from == n)
      return {};
    rms_norm(x_.data() + from * hidden, weights_.final_norm.data(), n - from, hidden,
             spec_.norm_eps, h_.data() + from * hidden);
    if (tap_ && wanted == n) { // nobody wants the product
      tell_tap(weights_.head, h_.data(), n);
      return {};
    }
    // As many positions at a time as fit 64 MiB.
    const std::int64_t step =
        std::max<std::int64_t>(1, (std::int64_t(64) << 20) / (spec_.vocab * 4));
    for (std::int64_t at = from; at < n; at += step) {
      const std::int64_t rows = std::min(step, n - at);
      TRY(product(weights_.head, h_.data() + at * hidden, rows, logits_, feedback));
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
  Rope rope_;
  const std::int64_t batch_;
  std::vector<float> x_, h_, q_, k_, v_, mixed_, y_, gate_, up_, logits_;
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
  if (spec.heads < 1 || spec.kv_heads < 1 || spec.heads % spec.kv_heads != 0 || spec.head_dim < 2 ||
      spec.head_dim % 2 != 0 || spec.layers < 1 || spec.vocab < 1)
    return Error{"bad-file",
                 "The configuration's heads do not fit together: " + std::to_string(spec.heads) +
                     " query heads, " + std::to_string(spec.kv_heads) + " key heads of " +
                     std::to_string(spec.head_dim) + " values",
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
