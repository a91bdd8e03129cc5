// SPDX-License-Identifier: Apache-2.0
// Shared by methods that learn the codes of integer schemes: weights on grids, where learning
// starts, and what is kept in the end.
#pragma once

#include "core/methods/block.h"
#include "core/methods/int_pack.h"
#include "kernels/base/parallel.h"

#include <algorithm>
#include <memory>

namespace bitlathe {

/// A linear whose codes are learned.
struct LearnedLinear {
  std::string name, part;
  const Scheme* scheme = nullptr;
  const Json* params = nullptr;
  std::string observer;
  const InputStatistics* inputs = nullptr;
  std::shared_ptr<const OutputNorm> norm; ///< of `inputs`
  std::int64_t rows = 0, cols = 0;
  std::vector<float> owned;      ///< when the weight had to be converted
  std::span<const float> weight; ///< what is to be stored
  IntGrids grids;                ///< those of `values`
  std::vector<float> values;     ///< the weight as coded at the moment (soft values while learning)
  std::vector<float> slope;      ///< of the loss by `values`
  std::vector<float> rounded;    ///< round to nearest on the plain grids, which ends not worse
  IntGrids rounded_grids;
  std::vector<std::string> notes; ///< of round to nearest, about the weight

  /// Of a row.
  std::int64_t groups() const { return (cols + grids.spec.group - 1) / grids.spec.group; }
  std::size_t grid_index(std::int64_t row, std::int64_t col) const {
    return grids.spec.per_tensor ? 0 : std::size_t(row * groups() + col / grids.spec.group);
  }
};

/// Why a scheme has no codes that can be learned; empty when it has.
std::string learned_declines(const Scheme& scheme);

/// The weight rounded to nearest; and with `search`, for each row, on grids of least squared error
/// where these give the row's outputs a smaller error. Errors: no calibration, NaN.
Result<LearnedLinear> start_learning(const MethodInput& input, bool search);
/// The same for every linear of a block that has this method.
Result<std::vector<LearnedLinear>> start_learning(CalibratedBlock& block, const Method& method,
                                                  bool search);
/// The first linear of a block that has this method and no codes yet, or nullptr; nullptr also for
/// the head, which is learned by itself.
const BlockLinear* first_to_learn(const CalibratedBlock& block, const Method& method);

/// Puts another choice in the place of `values` in every row whose output error it makes smaller;
/// per-tensor schemes choose as a whole.
Result<void> keep_better(LearnedLinear& linear, const std::vector<float>& other,
                         const IntGrids& grids);

/// A choice of codes for several linears.
struct LearnedChoice {
  std::vector<std::vector<float>> values;
  std::vector<IntGrids> grids;
};
LearnedChoice present_choice(const std::vector<LearnedLinear>& linears);
LearnedChoice rounded_choice(const std::vector<LearnedLinear>& linears);
void choose(std::vector<LearnedLinear>& linears, const LearnedChoice& choice);

/// The canonical tensor of `values`, which must stand on the grids.
Result<MethodOutput> pack_learned(const LearnedLinear& linear, Compute& compute,
                                  Feedback& feedback);
/// The codes of every linear, left in the block as finished.
Result<void> finish_learning(CalibratedBlock& block, const std::vector<LearnedLinear>& linears,
                             const std::string& note);

/// Runs body(row, first column, end column, grid index) for every group of every row, rows on all
/// threads.
template <class Body> void each_group(const LearnedLinear& linear, Body body) {
  const std::int64_t group = linear.grids.spec.per_tensor ? linear.cols : linear.grids.spec.group;
  parallel_for(
      linear.rows, std::max<std::int64_t>(1, 4096 / std::max<std::int64_t>(1, linear.cols)),
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin; row < end; ++row)
          for (std::int64_t col = 0; col < linear.cols; col += group)
            body(row, col, std::min(linear.cols, col + group), linear.grid_index(row, col));
      });
}

} // namespace bitlathe
