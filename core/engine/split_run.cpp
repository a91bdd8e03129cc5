// SPDX-License-Identifier: Apache-2.0
#include "core/engine/split_run.h"

#include "core/engine/block.h"
#include "core/engine/kv_memory.h"

#include <algorithm>
#include <cassert>

namespace bitlathe {

namespace {

struct Parts final : LoadedParts {
  explicit Parts(DecoderWeights loaded) : weights(std::move(loaded)) { bytes = weights.bytes; }
  DecoderWeights weights;
};

const DecoderWeights& weights_of(const LoadedParts& parts) {
  return static_cast<const Parts&>(parts).weights;
}

std::int64_t largest_of(const Checkpoint& model) {
  std::int64_t largest = 0;
  for (const Module& module : model.modules)
    if (module.layer >= 0 && !module.part.empty() && module.role != "norm")
      largest = std::max(largest, module.weight.rows * module.weight.cols);
  return largest;
}

class Run final : public SplitRun {
 public:
  Run(const Checkpoint& model, Compute& compute, std::vector<KvCache> caches)
      : path_(model.path.string()), spec_(*model.spec), compute_(compute),
        caches_(std::move(caches)), batch_(batch_size(largest_of(model))),
        block_(spec_, compute, {}) {}

  Result<std::unique_ptr<LoadedParts>> load_all(const Checkpoint& from,
                                                const EngineOptions& options) override {
    return wrapped(load_decoder_weights(from, compute_, resident(options)));
  }
  Result<std::unique_ptr<LoadedParts>> load_block(const Checkpoint& from, std::int64_t layer,
                                                  const EngineOptions& options) override {
    return wrapped(load_decoder_layers(from, compute_, resident(options), layer, 1));
  }
  Result<std::unique_ptr<LoadedParts>> load_ends(const Checkpoint& from,
                                                 const EngineOptions& options) override {
    return wrapped(load_decoder_head(from, compute_, resident(options)));
  }

  Result<void> embed(const LoadedParts& parts, std::span<const std::int32_t> ids,
                     float* x) override {
    const DecoderWeights& weights = weights_of(parts);
    const auto count = std::int64_t(ids.size());
    for (const std::int32_t id : ids)
      if (id < 0 || id >= spec_.vocab)
        return Error{"bad-argument",
                     "Token " + std::to_string(id) + " is outside the vocabulary of " +
                         std::to_string(spec_.vocab),
                     path_};
    if (weights.positions.module && count > weights.positions.rows())
      return Error{"bad-argument",
                   "The model has learned positions for " +
                       std::to_string(weights.positions.rows()) + " tokens, not for " +
                       std::to_string(count),
                   path_};
    block_.embed(weights.embedding, weights.positions, ids, 0, x);
    return {};
  }

  Result<void> run(const LoadedParts& parts, std::int64_t layer, float* x, std::int64_t tokens,
                   std::int64_t wanted, const Feedback* feedback) override {
    KvCache& cache = caches_[std::size_t(layer)];
    if (cache.capacity < tokens) {
      TRY_ASSIGN(cache, cache.resized(tokens, 0));
    }
    const DecoderLayer& block = weights_of(parts).layers[std::size_t(layer)];
    for (std::int64_t begin = 0; begin < tokens; begin += batch_) {
      const std::int64_t n = std::min(batch_, tokens - begin);
      const std::int64_t from =
          layer + 1 == spec_.layers ? std::clamp<std::int64_t>(wanted - begin, 0, n) : 0;
      TRY(block_.run(block, cache, begin, tokens, x + begin * spec_.hidden, n, from, feedback));
    }
    return {};
  }

  Result<void> head(const LoadedParts& parts, const float* x, std::int64_t tokens,
                    std::int64_t wanted, std::vector<float>& out,
                    const Feedback* feedback) override {
    const DecoderWeights& weights = weights_of(parts);
    const std::int64_t hidden = spec_.hidden, vocab = spec_.vocab;
    out.resize(std::size_t((tokens - wanted) * vocab));
    // In the batches and steps of the engine: how a product is cut may decide its last bits.
    const std::int64_t step = std::max<std::int64_t>(1, (std::int64_t(64) << 20) / (vocab * 4));
    for (std::int64_t begin = 0; begin < tokens; begin += batch_) {
      const std::int64_t end = std::min(begin + batch_, tokens);
      for (std::int64_t at = std::max(begin, wanted); at < end; at += step) {
        const std::int64_t rows = std::min(step, end - at);
        h_.resize(std::size_t(rows * hidden));
        block_.normalize(weights.final_norm, x + (at - wanted) * hidden, rows, h_.data());
        TRY(block_.product(weights.head, h_.data(), rows, logits_, feedback));
        if (spec_.final_softcap > 0)
          softcap(logits_.data(), rows * vocab, spec_.final_softcap);
        std::copy(logits_.begin(), logits_.end(), out.begin() + (at - wanted) * vocab);
      }
    }
    return {};
  }

 private:
  /// Parts are loaded for as long as there is somebody who holds them.
  static EngineOptions resident(EngineOptions options) {
    options.residency.reset();
    return options;
  }
  static Result<std::unique_ptr<LoadedParts>> wrapped(Result<DecoderWeights> weights) {
    if (!weights)
      return weights.error();
    return std::unique_ptr<LoadedParts>(std::make_unique<Parts>(std::move(*weights)));
  }

  const std::string path_;
  const ModelSpec spec_;
  Compute& compute_;
  std::vector<KvCache> caches_; ///< by layer: their scales may differ
  const std::int64_t batch_;
  BlockForward block_;
  std::vector<float> h_, logits_;
};

} // namespace

Result<std::unique_ptr<SplitRun>> SplitRun::create(const Checkpoint& model, Compute& compute,
                                                   const EngineOptions& options) {
  TRY(check_runnable(model));
  const KvScheme kv = kv_scheme_of(model, options);
  std::vector<KvCache> caches;
  for (std::int64_t layer = 0; layer < model.spec->layers; ++layer) {
    const std::array<float, 2> scale = std::size_t(layer) < model.kv_scales.size()
                                           ? model.kv_scales[std::size_t(layer)]
                                           : std::array<float, 2>{};
    TRY_ASSIGN(auto cache, KvCache::create(kv.keys, kv.values, model.spec->kv_heads,
                                           model.spec->head_dim, 0, scale[0], scale[1]));
    caches.push_back(std::move(cache));
  }
  return std::unique_ptr<SplitRun>(new Run(model, compute, std::move(caches)));
}

} // namespace bitlathe
