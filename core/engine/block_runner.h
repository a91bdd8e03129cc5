// SPDX-License-Identifier: Apache-2.0
// Runs a model one block at a time over many sequences: only one block's weights are loaded at
// once, and the residual stream is the caller's to keep.
#pragma once

#include "core/engine/engine.h"

namespace bitlathe {

class BlockRunner {
 public:
  /// The checkpoint must have a spec; its weights may change between calls of load(). Errors as
  /// Engine::create.
  static Result<std::unique_ptr<BlockRunner>> create(const Checkpoint& checkpoint,
                                                     Compute& compute);
  virtual ~BlockRunner() = default;

  /// x[ids.size()][hidden]: what goes into the first block.
  virtual Result<void> embed(std::span<const std::int32_t> ids, float* x) = 0;
  /// Loads the weights of a block as the checkpoint has them now.
  virtual Result<void> load(std::int64_t layer) = 0;
  /// One sequence from its beginning through the loaded block, in place.
  virtual Result<void> run(float* x, std::int64_t tokens, const ActivationTap& tap,
                           const Feedback* feedback) = 0;
  /// The final norm: what goes into the head.
  virtual void normalize(const float* x, std::int64_t tokens, float* out) = 0;
  /// Logits of what normalize() gave, one token at a time, in order. Loads the head for this call
  /// in place of a block.
  virtual Result<void> head(const float* normalized, std::int64_t tokens,
                            const Engine::LogitSink& sink, const Feedback* feedback) = 0;
};

} // namespace bitlathe
