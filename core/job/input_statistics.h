// SPDX-License-Identifier: Apache-2.0
// Gathers what calibration says of the inputs of a block's linears while the block runs. Internal
// to core/job.
#pragma once

#include "core/engine/engine.h"
#include "core/methods/block.h"

#include <map>

namespace bitlathe {

/// Which parts of a block read the same values: "attention" for q, k, v and qkv; "mlp" for gate,
/// up and gate_up; every other part reads its own.
std::string_view input_of(std::string_view part);

class InputCollector {
 public:
  InputCollector(Compute& compute, const Feedback& feedback)
      : compute_(compute), feedback_(feedback) {}

  /// Wants the inputs `input_of(part)` says, of as many columns.
  void want(std::string_view part, std::int64_t cols);
  bool wants(std::string_view part) const { return found_.count(input_of(part)) > 0; }
  /// x[tokens][cols] of a linear. Of linears that read the same the first one counts.
  void add(const Module& module, const float* x, std::int64_t tokens);
  /// The first problem met.
  const Result<void>& outcome() const { return outcome_; }
  std::shared_ptr<InputStatistics> take(std::string_view part) const;

 private:
  struct Found {
    std::shared_ptr<InputStatistics> statistics;
    const Module* first = nullptr;
    std::int64_t samples = 0; ///< added so far: a sample runs through a block at once
  };
  Compute& compute_;
  const Feedback& feedback_;
  std::map<std::string_view, Found> found_;
  Result<void> outcome_;
};

} // namespace bitlathe
