// SPDX-License-Identifier: Apache-2.0
// The forward pass of a decoder, whatever its architecture: ModelSpec and the parts of a layer say
// what happens. Weights stay packed; activations are f32.
#include "core/engine/block.h"
#include "core/engine/kv_memory.h"
#include "core/engine/linear_weight.h"
#include "core/engine/residency.h"

#include <algorithm>

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
        TRY_ASSIGN(KvCache larger, cache.resized(size, length_));
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

  std::int64_t allocated_ = 0;
};

/// Matrices that are loaded and dropped together.
class WeightPiece final : public Residency::Piece {
 public:
  WeightPiece(std::vector<Linear*> linears, const WeightForm& form, const Linear& embedding)
      : linears_(std::move(linears)), form_(form), embedding_(embedding) {}

  std::uint64_t size() const override {
    if (last_ > 0)
      return last_;
    std::uint64_t sum = 0;
    for (const Linear* linear : linears_)
      sum += expected_bytes(*linear, form_).total();
    return sum;
  }
  Result<std::uint64_t> load() override {
    for (Linear* linear : linears_)
      TRY(load_linear(*linear, form_, linear->tied ? &embedding_ : nullptr));
    last_ = 0;
    for (const Linear* linear : linears_)
      last_ += loaded_bytes(*linear).total();
    return last_;
  }
  void drop() override {
    for (Linear* linear : linears_) {
      drop_linear(*linear);
      if (linear->tied)
        linear->weight = &embedding_.module->weight;
    }
  }
  std::int64_t clipped() const {
    std::int64_t sum = 0;
    for (const Linear* linear : linears_)
      sum += linear->clipped;
    return sum;
  }
  std::uint64_t own_bytes() const {
    std::uint64_t sum = 0;
    for (const Linear* linear : linears_)
      sum += loaded_bytes(*linear).own;
    return sum;
  }

 private:
  const std::vector<Linear*> linears_;
  const WeightForm form_;
  const Linear& embedding_;
  std::uint64_t last_ = 0; ///< what it took
};

class Decoder final : public Engine {
 public:
  Decoder(std::shared_ptr<const Checkpoint> checkpoint, Compute& compute, DecoderWeights weights,
          KvScheme kv, const EngineOptions& options)
      : checkpoint_(std::move(checkpoint)), weights_(std::move(weights)), kv_(std::move(kv)),
        spec_(*checkpoint_->spec), residency_(options.residency),
        block_(spec_, compute, options.tap), batch_(batch_size(weights_.largest)) {
    for (std::int64_t i = 0; i < spec_.layers; ++i)
      kv_counts_.push_back(std::make_shared<KvCounts>());
    if (!residency_)
      return;
    const WeightForm form{compute, options.round_weights_to_f16};
    const auto add = [&](std::vector<Linear*> linears) {
      pieces_.push_back(std::make_unique<WeightPiece>(std::move(linears), form,
                                                      std::as_const(weights_.embedding)));
    };
    for (DecoderLayer& layer : weights_.layers)
      add(linears_of(layer));
    std::vector<Linear*> table{&weights_.embedding};
    if (weights_.positions.module)
      table.push_back(&weights_.positions);
    if (weights_.head.tied) // needs the table
      table.push_back(&weights_.head);
    add(std::move(table));
    if (!weights_.head.tied)
      add({&weights_.head});
  }
  ~Decoder() override {
    for (const auto& piece : pieces_)
      residency_->forget(*piece);
  }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  /// Loads every piece once, for the errors of weights that are not in order.
  Result<void> look_at_all() {
    for (const auto& piece : pieces_) {
      TRY_ASSIGN(const Residency::Hold held, residency_->hold(*piece));
      weights_.clipped += piece->clipped();
    }
    return {};
  }

  const ModelSpec& spec() const override { return spec_; }
  const Checkpoint& checkpoint() const override { return *checkpoint_; }
  std::vector<std::string> notes() const override {
    std::vector<std::string> out = weights_.notes;
    if (weights_.clipped > 0)
      out.push_back(std::to_string(weights_.clipped) +
                    (weights_.clipped == 1 ? " weight was" : " weights were") +
                    " clipped to the range of f16");
    for (std::string& note : activity().notes())
      out.push_back(std::move(note));
    return out;
  }
  EngineActivity activity() const override {
    EngineActivity out;
    const auto add = [&](const Linear& linear) {
      if (linear.counts && linear.counts->calls > 0)
        out.modules.push_back({linear.module->name,
                               linear.activations ? std::string(linear.activations->id) : "none",
                               *linear.counts});
    };
    for (const DecoderLayer& layer : weights_.layers)
      for (const Linear* linear : {&layer.q, &layer.k, &layer.v, &layer.qkv, &layer.o, &layer.gate,
                                   &layer.up, &layer.gate_up, &layer.down})
        add(*linear);
    add(weights_.head);
    for (const auto& counts : kv_counts_)
      out.layers.push_back(*counts);
    return out;
  }
  std::uint64_t weight_bytes() const override {
    std::uint64_t sum = weights_.bytes;
    for (const auto& piece : pieces_)
      sum += piece->own_bytes();
    return sum;
  }

  Result<std::unique_ptr<Sequence>> new_sequence(std::int64_t capacity) override {
    if (capacity < 1)
      return Error{"bad-argument", "A sequence needs room for at least one token", {}};
    auto sequence = std::make_unique<DecoderSequence>();
    sequence->capacity_ = capacity;
    for (std::int64_t i = 0; i < spec_.layers; ++i) {
      const std::array<float, 2> scale = std::size_t(i) < checkpoint_->kv_scales.size()
                                             ? checkpoint_->kv_scales[std::size_t(i)]
                                             : std::array<float, 2>{};
      TRY_ASSIGN(auto cache, KvCache::create(kv_.keys, kv_.values, spec_.kv_heads, spec_.head_dim,
                                             0, scale[0], scale[1]));
      cache.counts = kv_counts_[std::size_t(i)];
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
    TRY(prepare(state, ids, feedback));
    total_ = state.length_ + count;
    for (std::int64_t begin = 0; begin < count; begin += batch_) {
      const std::int64_t n = std::min(batch_, count - begin);
      const std::int64_t wanted = std::clamp<std::int64_t>(first_wanted - begin, 0, n);
      TRY(run_blocks(state, ids.subspan(std::size_t(begin), std::size_t(n)), wanted, feedback));
      state.length_ += n;
      TRY(run_head(n, wanted, begin, sink, feedback));
    }
    return {};
  }

  Result<void> step(std::span<Sequence* const> sequences, std::span<const std::int32_t> ids,
                    const LogitSink& sink, const Feedback* feedback) override {
    if (sequences.size() != ids.size())
      return Error{"bad-argument", "There must be one token for every sequence", {}};
    for (std::size_t i = 0; i < ids.size(); ++i)
      for (std::size_t j = 0; j < i; ++j)
        if (sequences[i] == sequences[j])
          return Error{"bad-argument", "The same sequence is asked for two tokens at once", {}};
    for (std::size_t i = 0; i < ids.size(); ++i)
      TRY(prepare(static_cast<DecoderSequence&>(*sequences[i]), ids.subspan(i, 1), feedback));
    const auto count = std::int64_t(ids.size());
    for (std::int64_t begin = 0; begin < count; begin += batch_) {
      const std::int64_t n = std::min(batch_, count - begin);
      TRY(step_some(sequences.subspan(std::size_t(begin), std::size_t(n)),
                    ids.subspan(std::size_t(begin), std::size_t(n)), feedback));
      TRY(run_head(n, 0, begin, sink, feedback));
    }
    return {};
  }

 private:
  /// Checks what is to be appended, and makes room for it.
  Result<void> prepare(DecoderSequence& state, std::span<const std::int32_t> ids,
                       const Feedback* feedback) {
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
    if (block_.changes(state.length_, total_))
      TRY(run_again(state, feedback));
    if (!spec_.rope.long_factors.empty())
      state.ids_.insert(state.ids_.end(), ids.begin(), ids.end());
    return {};
  }

  /// Leaves the residual stream of one token of each sequence in x_.
  Result<void> step_some(std::span<Sequence* const> sequences, std::span<const std::int32_t> ids,
                         const Feedback* feedback) {
    x_.resize(ids.size() * std::size_t(spec_.hidden));
    h_.resize(x_.size());
    std::vector<Segment> segments;
    {
      TRY_ASSIGN(const Residency::Hold table, hold(std::size_t(spec_.layers)));
      for (std::size_t i = 0; i < ids.size(); ++i) {
        const auto& state = static_cast<const DecoderSequence&>(*sequences[i]);
        segments.push_back({nullptr, state.length_, state.length_ + 1, 1});
        block_.embed(weights_.embedding, weights_.positions, ids.subspan(i, 1), state.length_,
                     x_.data() + std::int64_t(i) * spec_.hidden);
      }
    }
    for (std::int64_t layer = 0; layer < spec_.layers; ++layer) {
      for (std::size_t i = 0; i < ids.size(); ++i)
        segments[i].cache =
            &static_cast<DecoderSequence&>(*sequences[i]).layers_[std::size_t(layer)];
      TRY_ASSIGN(const Residency::Hold weights, hold(std::size_t(layer)));
      TRY(block_.run(weights_.layers[std::size_t(layer)], segments, x_.data(), feedback));
    }
    for (Sequence* sequence : sequences)
      ++static_cast<DecoderSequence&>(*sequence).length_;
    return {};
  }

  /// Loads a piece for as long as the value lives; nothing where everything stays loaded.
  Result<Residency::Hold> hold(std::size_t piece) {
    if (!residency_)
      return Residency::Hold();
    return residency_->hold(*pieces_[piece]);
  }

  /// Stores the keys and values of the whole sequence once more.
  Result<void> run_again(DecoderSequence& state, const Feedback* feedback) {
    const std::int64_t length = state.length_;
    block_.mute(true);
    state.length_ = 0;
    Result<void> done;
    while (done && state.length_ < length) {
      const std::int64_t n = std::min(batch_, length - state.length_);
      const std::span ids(state.ids_);
      done =
          run_blocks(state, ids.subspan(std::size_t(state.length_), std::size_t(n)), n, feedback);
      state.length_ += n;
    }
    block_.mute(false);
    state.length_ = length;
    return done;
  }

  /// Leaves the residual stream of the tokens from `wanted` on in x_ (row 0 = token 0). The last
  /// block does nothing for tokens before `wanted` except store their keys and values.
  Result<void> run_blocks(DecoderSequence& state, std::span<const std::int32_t> ids,
                          std::int64_t wanted, const Feedback* feedback) {
    const auto n = std::int64_t(ids.size());
    x_.resize(std::size_t(n * spec_.hidden));
    h_.resize(x_.size());
    {
      TRY_ASSIGN(const Residency::Hold table, hold(std::size_t(spec_.layers)));
      block_.embed(weights_.embedding, weights_.positions, ids, state.length_, x_.data());
    }
    for (std::int64_t i = 0; i < spec_.layers; ++i) {
      // Taps must see every token.
      const std::int64_t from = i + 1 == spec_.layers && !block_.tapped() ? wanted : 0;
      TRY_ASSIGN(const Residency::Hold weights, hold(std::size_t(i)));
      TRY(block_.run(weights_.layers[std::size_t(i)], state.layers_[std::size_t(i)], state.length_,
                     total_, x_.data(), n, from, feedback));
    }
    return {};
  }

  Result<void> run_head(std::int64_t n, std::int64_t wanted, std::int64_t begin,
                        const LogitSink& sink, const Feedback* feedback) {
    const std::int64_t hidden = spec_.hidden;
    const std::int64_t from = block_.tapped() ? 0 : wanted;
    if (from == n)
      return {};
    block_.normalize(weights_.final_norm, x_.data() + from * hidden, n - from,
                     h_.data() + from * hidden);
    if (block_.tapped() && wanted == n) { // nobody wants the product
      block_.tell_tap(weights_.head, h_.data(), n);
      return {};
    }
    TRY_ASSIGN(const Residency::Hold head, hold(pieces_.size() - 1));
    return block_.head(
        weights_.head, h_.data() + from * hidden, n - from,
        [&](std::int64_t at, std::span<const float> logits) -> Result<void> {
          return from + at < wanted ? Result<void>() : sink(begin + from + at, logits);
        },
        feedback);
  }

  const std::shared_ptr<const Checkpoint> checkpoint_;
  DecoderWeights weights_;
  const KvScheme kv_;
  std::vector<std::shared_ptr<KvCounts>> kv_counts_; ///< per layer; of all sequences
  const ModelSpec& spec_;
  const std::shared_ptr<Residency> residency_;
  std::vector<std::unique_ptr<WeightPiece>> pieces_; ///< blocks, the table, the head; or none
  BlockForward block_;
  const std::int64_t batch_;
  std::int64_t total_ = 0; ///< length of the sequence after the running call
  std::vector<float> x_, h_;
};

} // namespace

Result<void> Engine::step(std::span<Sequence* const> sequences, std::span<const std::int32_t> ids,
                          const LogitSink& sink, const Feedback* feedback) {
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const auto told = [&](std::int64_t, std::span<const float> logits) {
      return sink(std::int64_t(i), logits);
    };
    TRY(forward(*sequences[i], ids.subspan(i, 1), 0, told, feedback));
  }
  return {};
}

Result<std::unique_ptr<Engine>> Engine::create(std::shared_ptr<const Checkpoint> checkpoint,
                                               Compute& compute, const EngineOptions& options) {
  TRY(check_runnable(*checkpoint));
  const ModelSpec& spec = *checkpoint->spec;
  TRY(parse_activation_scheme(options.activations));
  const KvScheme kv = kv_scheme_of(*checkpoint, options);
  TRY(kv_layout(kv.keys, spec.head_dim));
  TRY(kv_layout(kv.values, spec.head_dim));
  if (const auto& scales = checkpoint->kv_scales;
      (kv_is_static(kv.keys) || kv_is_static(kv.values)) &&
      std::int64_t(scales.size()) != spec.layers)
    return Error{"bad-argument",
                 "The KV scheme " + (kv_is_static(kv.keys) ? kv.keys : kv.values) +
                     " needs calibrated scales for " + std::to_string(spec.layers) +
                     " layers, and the checkpoint has them for " + std::to_string(scales.size()) +
                     ": quantize with calibration, or choose f8_e4m3",
                 checkpoint->path.string()};
  TRY_ASSIGN(DecoderWeights weights, load_decoder_weights(*checkpoint, compute, options));
  auto decoder =
      std::make_unique<Decoder>(std::move(checkpoint), compute, std::move(weights), kv, options);
  TRY(decoder->look_at_all());
  return std::unique_ptr<Engine>(std::move(decoder));
}

} // namespace bitlathe
