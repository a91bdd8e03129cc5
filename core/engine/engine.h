// SPDX-License-Identifier: Apache-2.0
// The forward pass of a decoder with a KV cache, on float or packed weights, and sampling.
#pragma once

#include "core/engine/activity.h"
#include "core/model/checkpoint.h"
#include "kernels/compute/compute.h"

#include <functional>
#include <random>

namespace bitlathe {

/// How keys and values are stored: "f16" (default), "f32", "int8", "int4", "q8_0", "q4_0",
/// "f8_e4m3", "f8_e4m3-static" (with the calibrated scales of the checkpoint).
struct KvScheme {
  std::string keys = "f16", values = "f16";
};
/// Error "bad-argument" naming the known ones.
Result<KvScheme> parse_kv(const std::string& text);

/// What happens in one linear, for calibration: x is [tokens][in].
using ActivationTap =
    std::function<void(const Module& module, const float* x, std::int64_t tokens)>;

class Residency;

struct EngineOptions {
  std::string activations; ///< empty: as stored per module; else for every quantized linear
  /// nullopt: as recorded with the checkpoint; f32 for an unquantized one with nothing but the
  /// default recorded, so that a reference run has the logits of its weights.
  std::optional<KvScheme> kv;
  ActivationTap tap;
  bool round_weights_to_f16 =
      false; ///< run with the weights rounded to f16 (bf16 for an f16 source)
  /// Shared by engines whose blocks take turns in memory (core/engine/residency.h); null: what is
  /// loaded stays.
  std::shared_ptr<Residency> residency;
};

/// A sequence being run: its KV cache and position. Made by Engine::new_sequence.
class Sequence {
 public:
  virtual ~Sequence() = default;
  virtual std::int64_t length() const = 0;
  virtual void clear() = 0;
  virtual std::uint64_t bytes() const = 0;
};

class Engine {
 public:
  /// Errors: "unsupported" with Checkpoint::why_not_runnable. Keeps the checkpoint and uses
  /// `compute`, which must outlive it, from the calling thread only.
  static Result<std::unique_ptr<Engine>> create(std::shared_ptr<const Checkpoint> checkpoint,
                                                Compute& compute,
                                                const EngineOptions& options = {});
  virtual ~Engine() = default;
  virtual const ModelSpec& spec() const = 0;
  virtual const Checkpoint& checkpoint() const = 0;
  /// What was loaded how, and what activity() has to say.
  virtual std::vector<std::string> notes() const = 0;
  /// What was seen of inputs, keys and values since the engine was made.
  virtual EngineActivity activity() const { return {}; }
  virtual std::uint64_t weight_bytes() const = 0; ///< of loaded weights beyond the map, now

  virtual Result<std::unique_ptr<Sequence>> new_sequence(std::int64_t capacity) = 0;
  /// Appends ids to the sequence and calls `sink` once per wanted position, in order, with its f32
  /// logits [vocab]. `first_wanted` is an index into `ids`; pass ids.size() for none, ids.size() -
  /// 1 for the last. Long prompts are processed in batches. An id outside the vocabulary is an
  /// error.
  using LogitSink = std::function<Result<void>(std::int64_t index, std::span<const float> logits)>;
  virtual Result<void> forward(Sequence& sequence, std::span<const std::int32_t> ids,
                               std::int64_t first_wanted, const LogitSink& sink,
                               const Feedback* feedback = nullptr) = 0;
  /// One more token for each of several different sequences, together: weights are read once for
  /// all of them. `sink` gets the index of every sequence, in order, with the logits after its
  /// token.
  virtual Result<void> step(std::span<Sequence* const> sequences, std::span<const std::int32_t> ids,
                            const LogitSink& sink, const Feedback* feedback = nullptr);
};

struct SamplingOptions {
  float temperature = 0; ///< 0 = greedy
  int top_k = 0;         ///< 0 = off
  float top_p = 1;
  std::uint64_t seed = 0;
};

/// Draws tokens; the same seed and logits give the same tokens on every machine.
class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options);
  std::int32_t pick(std::span<const float> logits);

 private:
  SamplingOptions options_;
  std::mt19937_64 random_;
};

struct TopToken {
  std::int32_t id = 0;
  double logprob = 0;
};
struct GenerateStep {
  std::int32_t id = 0;
  std::optional<double> logprob; ///< given what came before; null for the very first token
  std::vector<TopToken> top;
  bool prompt = false;
};
struct GenerateOptions {
  std::vector<std::int32_t> prompt;
  std::int64_t max_new = 64;
  SamplingOptions sampling;
  int logprobs = 0; ///< K likeliest per step, prompt included; 0 = none
  bool stop_at_eos = true;
  std::vector<std::int32_t> stop; ///< with stop_at_eos: more tokens that end the text
  std::function<void(const GenerateStep&)> on_token; ///< new tokens, as they come
};
struct GenerateResult {
  std::vector<std::int32_t> prompt, tokens; ///< tokens = the new ones
  std::vector<GenerateStep> steps;          ///< filled when logprobs > 0, prompt first
  std::string stop_reason;                  ///< "eos", "length", "context"
  double prompt_seconds = 0, seconds = 0;
};
Result<GenerateResult> generate(Engine& engine, const GenerateOptions& options, Feedback& feedback);

/// log of softmax of every entry, f64.
void log_softmax(std::span<const float> logits, std::span<double> out);

} // namespace bitlathe
