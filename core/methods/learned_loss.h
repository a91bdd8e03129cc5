// SPDX-License-Identifier: Apache-2.0
// What learned codes are judged by: how far what a linear, or a whole block, puts out is from what
// it should.
#pragma once

#include "core/methods/learned.h"
#include "core/train/block.h"

#include <functional>

namespace bitlathe {

class OutputLoss {
 public:
  virtual ~OutputLoss() = default;
  /// Of all calibration text with the present values.
  virtual Result<double> whole() = 0;
  /// Of what one step looks at, and its slopes by the values.
  virtual Result<double> step(std::int64_t index) = 0;
  /// Whether a step looks at everything.
  virtual bool steps_are_whole() const = 0;
};

/// ||(W - W')X||^2 / tokens from the second moments: every step sees all of the text.
class LinearLoss final : public OutputLoss {
 public:
  static Result<std::unique_ptr<LinearLoss>> create(LearnedLinear& linear, Compute& compute);
  Result<double> whole() override { return run(false); }
  Result<double> step(std::int64_t) override { return run(true); }
  bool steps_are_whole() const override { return true; }

 private:
  LinearLoss(LearnedLinear& linear, Compute& compute) : linear_(linear), compute_(compute) {}
  Result<double> run(bool slope);

  LearnedLinear& linear_;
  Compute& compute_;
  std::vector<float> moments_, difference_, product_;
  std::unique_ptr<LoadedMatrix> loaded_; ///< refers to moments_
};

/// Mean squared error of what a block puts out, `batch` samples per step.
class BlockLoss final : public OutputLoss {
 public:
  /// Errors: those of DecoderBlock::create.
  static Result<std::unique_ptr<BlockLoss>>
  create(CalibratedBlock& block, std::vector<LearnedLinear>& linears, std::int64_t batch);
  Result<double> whole() override;
  Result<double> step(std::int64_t index) override;
  bool steps_are_whole() const override { return batch_ >= source_.samples(); }

 private:
  BlockLoss(CalibratedBlock& source, std::vector<LearnedLinear>& linears, DecoderBlock block,
            std::int64_t batch);
  /// Sum of squared errors over these samples, and slopes if wanted.
  Result<double> run(std::span<const std::int64_t> samples, bool slopes);
  Result<double> run_together(bool slopes, double count);
  void exchange();
  /// Adds what the block should put out for a sample to target_.
  Result<void> add_target(std::int64_t sample);

  CalibratedBlock& source_;
  std::vector<LearnedLinear>& linears_;
  DecoderBlock block_;
  BlockParameters gradients_;
  std::int64_t batch_, most_tokens_, epoch_ = -1;
  std::vector<std::int64_t> order_;
  std::vector<std::int64_t> lengths_; ///< of the samples that are run together
  std::vector<float> x_, target_, slope_;
  std::vector<std::vector<float>> targets_; ///< kept when they are small
  BlockTape tape_;
};

/// Learns the linears of a block together. `learn` finds them with the values they start from,
/// whose loss it is told, and leaves decided ones. What has the least error over all of the text is
/// kept: those, the start, or round to nearest; and put into the block as finished codes.
Result<void> learn_block(CalibratedBlock& block, std::vector<LearnedLinear>& linears,
                         std::int64_t batch,
                         const std::function<Result<void>(OutputLoss&, double start)>& learn);

/// Numbers from a seed, the same on every machine.
class SmallRandom {
 public:
  explicit SmallRandom(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next();
  /// 0 .. n - 1.
  std::int64_t below(std::int64_t n) { return std::int64_t(next() % std::uint64_t(n)); }

 private:
  std::uint64_t state_;
};

} // namespace bitlathe
