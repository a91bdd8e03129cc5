// SPDX-License-Identifier: Apache-2.0
// What calibrated methods work on: one block of the model (or its head) at a time, with float
// weights, what calibration found of every linear's inputs, and the block's own inputs.
#pragma once

#include "core/methods/method.h"
#include "core/recipe/plan.h"

#include <optional>

namespace bitlathe {

/// Of the inputs x of linears that read the same (q, k and v; gate and up), over all calibration
/// tokens.
struct InputStatistics {
  std::int64_t tokens = 0, cols = 0;
  std::vector<double> moments; ///< [cols][cols]: sum of x x^T; only the lower triangle is filled
  std::vector<float> absmax;   ///< per column
  std::vector<double> abs_sum; ///< per column: sum of |x|

  double moment(std::int64_t a, std::int64_t b) const {
    return moments[std::size_t(a > b ? a * cols + b : b * cols + a)];
  }
  /// The inputs became x[c] / divisor[c].
  void divide(std::span<const float> divisor);
};

/// ||DX||^2 = tr(D H D^T) for matrices D[rows][cols], from the second moments H of X.
class OutputNorm {
 public:
  /// `inputs` are read here only.
  static Result<OutputNorm> create(const InputStatistics& inputs, Compute& compute);
  Result<double> of(std::span<const float> matrix) const;
  /// Of every row of D.
  Result<std::vector<double>> rows_of(std::span<const float> matrix) const;

 private:
  Compute* compute_ = nullptr;
  std::int64_t cols_ = 0;
  std::vector<float> moments_;
  std::unique_ptr<LoadedMatrix> loaded_; ///< refers to moments_
};

/// A weight of the block as it is now. Methods may change `weight` and `bias` in ways that leave
/// what the block computes as it was, and then say `changed`.
struct BlockWeight {
  const Module* module = nullptr;
  std::vector<float> weight; ///< [rows][cols]; of a norm what it multiplies with (Gemma's 1 + w)
  std::vector<float> bias;   ///< empty: none
  bool changed = false;
};

struct BlockLinear : BlockWeight {
  const PlannedModule* planned = nullptr;
  const Method* method = nullptr;          ///< null: not quantized
  std::shared_ptr<InputStatistics> inputs; ///< shared by linears that read the same; null when no
                                           ///< linear of them has a calibrated method
  std::optional<MethodOutput> output;      ///< finished codes, when `prepare` made them
};

class CalibratedBlock {
 public:
  virtual ~CalibratedBlock() = default;

  int layer = -1; ///< -1: the head, as a block of one linear without inputs of its own
  std::vector<BlockLinear> linears; ///< in the order in which the block computes them
  std::vector<BlockWeight> norms;

  virtual const ModelSpec& spec() const = 0;
  virtual Compute& compute() = 0;
  virtual Feedback& feedback() = 0;
  virtual const Recipe& recipe() const = 0;

  BlockLinear* linear(std::string_view part);
  BlockWeight* norm(std::string_view part);

  /// The residual stream of calibration samples: [tokens][hidden] before the block, and after it
  /// as the original weights make it from that input. Valid until the next call.
  virtual std::int64_t samples() const = 0;
  virtual Result<std::span<const float>> input(std::int64_t sample) = 0;
  virtual Result<std::span<const float>> target(std::int64_t sample) = 0;
};

} // namespace bitlathe
