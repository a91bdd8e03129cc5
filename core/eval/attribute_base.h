// SPDX-License-Identifier: Apache-2.0
// A model of which single modules are exchanged: what stands before the first exchanged one is not
// computed again. Internal to core/eval.
#pragma once

#include "core/engine/split_run.h"
#include "core/eval/windows.h"

#include <map>
#include <optional>

namespace bitlathe {

/// A copy of a checkpoint whose modules can be exchanged, all of it views.
class Hybrid {
 public:
  explicit Hybrid(const Checkpoint& base);
  const Checkpoint& checkpoint() const { return checkpoint_; }
  /// The module becomes what `other` holds, with its bias and its activation scheme.
  void put(std::size_t index, const Module& other);
  void restore(std::size_t index);
  /// The same with another checkpoint's way to keep keys and values.
  const Checkpoint& with_kv_of(const Checkpoint& other);

 private:
  const Checkpoint& base_;
  Checkpoint checkpoint_;
};

/// The scored tokens of a text, the same as for `compare`.
struct ScoredText {
  std::vector<std::vector<std::int32_t>> windows; ///< all ids
  std::int64_t tokens = 0;                        ///< fed of each: all but the last
  std::int64_t wanted = 0;                        ///< first position with logits
  std::int64_t per_window() const { return tokens - wanted; }
  std::int64_t count() const { return std::int64_t(windows.size()); }
  std::int32_t target(std::int64_t window, std::int64_t i) const {
    return windows[std::size_t(window)][std::size_t(wanted + i + 1)];
  }
};
Result<ScoredText> scored_text(const Checkpoint& checkpoint, const EvalText& text);

/// Parts of a model that stand in for its own.
struct Exchanged {
  std::vector<std::pair<std::int64_t, std::unique_ptr<LoadedParts>>> blocks; ///< by layer
  std::unique_ptr<LoadedParts> ends;
  std::unique_ptr<LoadedParts> everything; ///< then there is nothing else
  SplitRun* split = nullptr;               ///< another way to keep keys and values; not owned
  bool embedding = false; ///< `ends` has another embedding, not only another norm or head
  bool from_start() const { return embedding || everything || split; }
};

class SwapBase {
 public:
  /// Loads the model. `memory`: bytes that residual streams may take.
  static Result<std::unique_ptr<SwapBase>> create(const Checkpoint& model, Compute& compute,
                                                  const EngineOptions& options,
                                                  const ScoredText& text, std::uint64_t memory);
  /// Runs the text through the model and keeps the streams before as many blocks as fit.
  Result<void> prepare(const Feedback& feedback);
  /// Forgets all but what the last block left.
  void drop_streams();

  /// The parts that hold these modules, as `hybrid` has them.
  Result<Exchanged> load(const Checkpoint& hybrid, const std::vector<std::size_t>& modules,
                         const EngineOptions& options);
  /// Logits [per_window][vocab] of a window, with other parts in the model.
  Result<void> logits(const Exchanged& exchanged, std::int64_t window, std::vector<float>& out,
                      const Feedback& feedback);
  /// The residual stream before a block, or behind the last one, of the model itself.
  Result<void> stream_before(std::int64_t layer, std::int64_t window, std::vector<float>& x,
                             const Feedback& feedback);

  const Checkpoint& model() const { return model_; }
  SplitRun& split() { return *split_; }
  const LoadedParts& parts() const { return *parts_; }
  std::int64_t layers() const { return model_.spec->layers; }
  std::uint64_t stream_bytes() const { return stream_bytes_; }
  std::uint64_t weight_bytes() const { return parts_->bytes; }
  /// Blocks run so far, of one window each, and how many of them only to get a stream back that
  /// did not fit.
  std::uint64_t blocks_run() const { return blocks_run_; }
  std::uint64_t blocks_repeated() const { return blocks_repeated_; }

 private:
  SwapBase(const Checkpoint& model, const ScoredText& text, std::uint64_t memory)
      : model_(model), text_(text), memory_(memory) {}
  /// Streams before these blocks are worth their memory; ascending.
  std::vector<std::int64_t> choose_kept() const;
  Result<void> run_block(const LoadedParts& parts, std::int64_t layer, float* x,
                         const Feedback& feedback);

  const Checkpoint& model_;
  const ScoredText& text_;
  const std::uint64_t memory_;
  std::unique_ptr<SplitRun> split_;
  std::unique_ptr<LoadedParts> parts_;
  using Stream = std::vector<float>;    ///< [windows][tokens][hidden]
  std::map<std::int64_t, Stream> kept_; ///< by layer; behind the last: [per_window]
  std::uint64_t stream_bytes_ = 0;
  std::uint64_t blocks_run_ = 0, blocks_repeated_ = 0;
  std::vector<float> x_;
};

} // namespace bitlathe
