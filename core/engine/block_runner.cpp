// SPDX-License-Identifier: Apache-2.0
#include "core/engine/block_runner.h"

#include "core/engine/block.h"

namespace bitlathe {

namespace {

class Runner final : public BlockRunner {
 public:
  Runner(const Checkpoint& checkpoint, Compute& compute, DecoderWeights weights)
      : checkpoint_(checkpoint), compute_(compute), weights_(std::move(weights)),
        forward_(*checkpoint.spec, compute,
                 [this](const Module& module, const float* x, std::int64_t tokens) {
                   if (tap_)
                     tap_(module, x, tokens);
                 }) {}

  Result<void> embed(std::span<const std::int32_t> ids, float* x) override {
    for (const std::int32_t id : ids)
      if (id < 0 || id >= checkpoint_.spec->vocab)
        return Error{"bad-argument",
                     "Token " + std::to_string(id) + " is outside the vocabulary of " +
                         std::to_string(checkpoint_.spec->vocab),
                     checkpoint_.path.string()};
    if (weights_.positions.module && std::int64_t(ids.size()) > weights_.positions.rows())
      return Error{"bad-argument",
                   "The model has learned positions for " +
                       std::to_string(weights_.positions.rows()) + " tokens, not for " +
                       std::to_string(ids.size()),
                   checkpoint_.path.string()};
    forward_.embed(weights_.embedding, weights_.positions, ids, 0, x);
    return {};
  }

  Result<void> load(std::int64_t layer) override {
    weights_.layers.clear(); // the old block goes before the new one comes
    TRY_ASSIGN(weights_, load_decoder_layers(checkpoint_, compute_, {}, layer, 1));
    layer_ = layer;
    return {};
  }

  Result<void> run(float* x, std::int64_t tokens, const ActivationTap& tap,
                   const Feedback* feedback) override {
    const ModelSpec& spec = *checkpoint_.spec;
    if (cache_.capacity < tokens) {
      TRY_ASSIGN(cache_, KvCache::create("f32", "f32", spec.kv_heads, spec.head_dim, tokens));
    }
    tap_ = tap;
    forward_.mute(!tap);
    const auto done = forward_.run(weights_.layers[std::size_t(layer_)], cache_, 0, tokens, x,
                                   tokens, 0, feedback);
    tap_ = nullptr;
    return done;
  }

  void normalize(const float* x, std::int64_t tokens, float* out) override {
    forward_.normalize(weights_.final_norm, x, tokens, out);
  }

  Result<void> head(const float* normalized, std::int64_t tokens, const Engine::LogitSink& sink,
                    const Feedback* feedback) override {
    weights_.layers.clear();
    TRY_ASSIGN(DecoderWeights weights, load_decoder_head(checkpoint_, compute_, {}));
    return forward_.head(weights.head, normalized, tokens, sink, feedback);
  }

 private:
  const Checkpoint& checkpoint_;
  Compute& compute_;
  DecoderWeights weights_;
  std::int64_t layer_ = -1;
  ActivationTap tap_;
  BlockForward forward_;
  KvCache cache_;
};

} // namespace

Result<std::unique_ptr<BlockRunner>> BlockRunner::create(const Checkpoint& checkpoint,
                                                         Compute& compute) {
  TRY(check_runnable(checkpoint));
  TRY_ASSIGN(DecoderWeights weights, load_decoder_layers(checkpoint, compute, {}, 0, 0));
  return std::unique_ptr<BlockRunner>(new Runner(checkpoint, compute, std::move(weights)));
}

} // namespace bitlathe
