// SPDX-License-Identifier: Apache-2.0
// A forward pass in parts, the same to the last bit as Engine::forward on a new sequence: the
// residual stream between blocks is the caller's, and any part may come from another checkpoint.
#pragma once

#include "core/engine/engine.h"

namespace bitlathe {

/// Some parts of a model, ready to run. The checkpoint they were loaded from must stay alive.
class LoadedParts {
 public:
  virtual ~LoadedParts() = default;
  std::uint64_t bytes = 0; ///< memory beyond the map
};

class SplitRun {
 public:
  /// How `model` is run: its configuration and its keys and values. Errors as Engine::create. Uses
  /// `compute`, which must outlive it, from the calling thread only.
  static Result<std::unique_ptr<SplitRun>> create(const Checkpoint& model, Compute& compute,
                                                  const EngineOptions& options = {});
  virtual ~SplitRun() = default;

  /// Parts as a checkpoint has them now; its configuration must be that of the model. Options say
  /// how weights are loaded: activations, and rounding.
  virtual Result<std::unique_ptr<LoadedParts>> load_all(const Checkpoint& from,
                                                        const EngineOptions& options = {}) = 0;
  virtual Result<std::unique_ptr<LoadedParts>>
  load_block(const Checkpoint& from, std::int64_t layer, const EngineOptions& options = {}) = 0;
  /// Embedding, final norm and head.
  virtual Result<std::unique_ptr<LoadedParts>> load_ends(const Checkpoint& from,
                                                         const EngineOptions& options = {}) = 0;

  /// x[ids.size()][hidden]: what goes into the first block.
  virtual Result<void> embed(const LoadedParts& parts, std::span<const std::int32_t> ids,
                             float* x) = 0;
  /// One sequence from its beginning through a block, in place. The last block leaves right only
  /// what stands from `wanted` on.
  virtual Result<void> run(const LoadedParts& parts, std::int64_t layer, float* x,
                           std::int64_t tokens, std::int64_t wanted, const Feedback* feedback) = 0;
  /// out[tokens - wanted][vocab] of what the last block left; x[tokens - wanted][hidden] is that
  /// of the tokens from `wanted` on.
  virtual Result<void> head(const LoadedParts& parts, const float* x, std::int64_t tokens,
                            std::int64_t wanted, std::vector<float>& out,
                            const Feedback* feedback) = 0;
};

} // namespace bitlathe
