// SPDX-License-Identifier: Apache-2.0
// The forward pass of the parts of a decoder, whatever its architecture: ModelSpec and the parts
// that a layer has say what happens. Weights stay packed; activations are f32. Internal to
// core/engine.
#pragma once

#include "core/engine/rotation.h"
#include "core/engine/weights.h"

namespace bitlathe {

/// Whether an activation function is known.
bool knows_activation(std::string_view id);
/// Error "unsupported" or "bad-file" with the reason why a checkpoint cannot be run.
Result<void> check_runnable(const Checkpoint& checkpoint);

/// Tokens of one sequence among those that are run together: `tokens` of them that stand at
/// `first` of a sequence of `total`, with its keys and values.
struct Segment {
  KvCache* cache;
  std::int64_t first, total, tokens;
};

/// Buffers and rotations for running blocks one after the other. x is the residual stream
/// [tokens][hidden] of one sequence, or of several one behind the other.
class BlockForward {
 public:
  BlockForward(const ModelSpec& spec, Compute& compute, ActivationTap tap);

  bool tapped() const { return tap_ && !muted_; }
  /// While muted the tap is not called.
  void mute(bool muted) { muted_ = muted; }
  /// Whether keys and values of a sequence must be stored again when it grows.
  bool changes(std::int64_t before, std::int64_t after) const {
    return rotation_.changes(before, after);
  }

  /// Token embeddings, with learned positions from `first` on, in x.
  void embed(const Linear& embedding, const Linear& positions, std::span<const std::int32_t> ids,
             std::int64_t first, float* x);
  /// One block on n tokens that stand at `first` of a sequence of `total`; their keys and values go
  /// into the cache. Tokens before `from` get nothing more than that.
  Result<void> run(const DecoderLayer& layer, KvCache& cache, std::int64_t first,
                   std::int64_t total, float* x, std::int64_t n, std::int64_t from,
                   const Feedback* feedback);
  /// The same on tokens of several sequences: products are of all of them together.
  Result<void> run(const DecoderLayer& layer, std::span<const Segment> segments, float* x,
                   const Feedback* feedback);
  void normalize(const Norm& norm, const float* x, std::int64_t tokens, float* out) const;
  /// y = x W^T + bias.
  Result<void> product(const Linear& w, const float* x, std::int64_t n, std::vector<float>& y,
                       const Feedback* feedback);
  /// Logits of normalized rows, some at a time; `sink` gets them by index from 0.
  Result<void> head(const Linear& head, const float* x, std::int64_t n,
                    const std::function<Result<void>(std::int64_t, std::span<const float>)>& sink,
                    const Feedback* feedback);
  void tell_tap(const Linear& w, const float* x, std::int64_t n) const;

 private:
  Result<void> project(const DecoderLayer& layer, std::int64_t n, std::int64_t from,
                       const Feedback* feedback);
  Result<void> run(const DecoderLayer& layer, std::span<const Segment> segments, float* x,
                   std::int64_t n, std::int64_t from, const Feedback* feedback);
  Result<void> attend(const DecoderLayer& layer, std::span<const Segment> segments, std::int64_t n,
                      std::int64_t from, const Feedback* feedback);
  Result<void> feed(const DecoderLayer& layer, const float* h, std::int64_t m,
                    std::vector<float>& out, const Feedback* feedback);

  const ModelSpec& spec_;
  Compute& compute_;
  const ActivationTap tap_;
  bool muted_ = false;
  Rotation rotation_, local_rotation_;
  std::vector<float> h_, q_, k_, v_, fused_, mixed_, y_, z_, gate_, up_, logits_;
};

} // namespace bitlathe
