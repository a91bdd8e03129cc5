// SPDX-License-Identifier: Apache-2.0
// One block of a decoder in f32, forward and back, for everything ModelSpec can say. Whole
// sequences from position 0, no cache. Knows nothing of quantization: whoever trains puts other
// weights in.
#pragma once

#include "core/engine/rotation.h"
#include "core/model/checkpoint.h"
#include "core/train/linear_products.h"
#include "kernels/base/feedback.h"
#include "kernels/nn/backward.h"

#include <map>
#include <span>
#include <string>
#include <vector>

namespace bitlathe {

/// A linear's or a norm's values (norms: one row, 1 added where the model uses 1 + w), or their
/// gradients.
struct Parameter {
  std::int64_t rows = 0, cols = 0;
  std::vector<float> weight, bias; ///< empty bias: none
};
/// By part: "q", "gate_up", "attention_norm", ... (ModuleName::part).
using BlockParameters = std::map<std::string, Parameter, std::less<>>;

/// All parts of a layer as f32. Errors: "unsupported" for values that cannot be decoded.
Result<BlockParameters> read_block(const Checkpoint& checkpoint, int layer);
/// Zeros of the same shape.
Parameter zeros_like(const Parameter& parameter);

/// What a forward pass leaves for the way back; reused, it allocates nothing anew.
struct BlockTape {
  std::vector<std::int64_t> lengths; ///< of the sequences, which follow each other
  std::int64_t tokens = 0;
  /// [tokens][...]. `q_flat` and `k_flat`: before their norms, where there are any. `mixed`: what
  /// attention reads out. `attended`, `fed`: what the two halves add, before a norm of it.
  std::vector<float> x, h, q_flat, k_flat, q, k, v, mixed, attended, middle, mlp_h, gate, up,
      activated, fed, out;
  std::vector<float> log_sums; ///< of attention, [heads][tokens]
};

class DecoderBlock {
 public:
  /// Errors: "bad-file" for parts that are missing or do not fit the configuration. `spec` must
  /// outlive the block, and so must `compute`, whose device does the products if it has one.
  static Result<DecoderBlock> create(const ModelSpec& spec, int layer, BlockParameters parameters,
                                     Compute* compute = nullptr);

  /// Values may be changed between calls, shapes may not.
  BlockParameters& parameters() { return parameters_; }
  const BlockParameters& parameters() const { return parameters_; }

  /// x holds sequences of these lengths one after the other; the result is tape.out. Errors:
  /// "cancelled".
  Result<void> forward(std::span<const float> x, std::span<const std::int64_t> lengths,
                       BlockTape& tape, const Feedback* feedback = nullptr);
  /// From the slope of some loss by tape.out. Adds to the weights and biases that are in
  /// `gradients` (those left empty are not wanted); writes dx unless that is null.
  Result<void> backward(const BlockTape& tape, std::span<const float> dout,
                        BlockParameters& gradients, std::vector<float>* dx,
                        const Feedback* feedback = nullptr);
  /// The input of a linear on the tape, [tokens][cols].
  static const std::vector<float>& input_of(const BlockTape& tape, std::string_view part);

 private:
  DecoderBlock(const ModelSpec& spec, int layer, BlockParameters parameters, Compute* compute);

  const Parameter* find(std::string_view part) const;
  Result<void> linear(std::string_view part, const std::vector<float>& x, std::int64_t tokens,
                      std::vector<float>& y, const Feedback* feedback);
  Result<void> linear_back(std::string_view part, const std::vector<float>& x,
                           const std::vector<float>& dy, std::int64_t tokens,
                           BlockParameters& gradients, std::vector<float>* dx, bool add,
                           const Feedback* feedback);
  bool norm(std::string_view part, const std::vector<float>& x, std::vector<float>& y) const;
  bool norm_back(std::string_view part, const std::vector<float>& x, const std::vector<float>& dy,
                 BlockParameters& gradients, std::vector<float>& dx) const;
  void rotate(Rotation& rotation, std::span<const std::int64_t> lengths, std::vector<float>& x,
              std::int64_t heads) const;
  AttentionShape attention_shape() const;
  Result<void> attend(BlockTape& tape, const Feedback* feedback);
  Result<void> feed(BlockTape& tape, const Feedback* feedback);
  Result<void> feed_back(const BlockTape& tape, const std::vector<float>& dout,
                         BlockParameters& gradients, std::vector<float>& dh,
                         const Feedback* feedback);
  Result<void> attend_back(const BlockTape& tape, const std::vector<float>& dout,
                           BlockParameters& gradients, std::vector<float>* dh, bool add,
                           const Feedback* feedback);

  const ModelSpec* spec_;
  std::int64_t window_;
  const ActivationKind* activation_;
  BlockParameters parameters_;
  Rotation rotation_, rotation_back_;
  LinearProducts products_;
  std::vector<float> fused_; ///< of qkv and gate_up, and their slopes
  std::vector<float> slope_, dmixed_, dq_, dk_, dv_, dgate_, dup_, dh_, dmiddle_;
};

} // namespace bitlathe
