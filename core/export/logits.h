// SPDX-License-Identifier: Apache-2.0
// Two checkpoints that should compute the same, run over the same tokens.
#pragma once

#include "core/model/checkpoint.h"
#include "kernels/compute/compute.h"

namespace bitlathe {

struct LogitComparison {
  std::string skipped;     ///< why nothing was run; empty: it was
  std::int64_t tokens = 0; ///< positions compared
  double worst = 0;        ///< largest |difference| / max |logit| of its position
  std::int64_t worst_position = 0;
  std::int64_t same_top = 0; ///< positions with the same likeliest token
  bool finite = true; ///< no value is lost: finite in the first, NaN or infinite in the second
  /// The two attend to windows of other lengths (GGUF holds those of some architectures only): only
  /// tokens that every window reaches were compared.
  bool within_windows = false;
};

/// The most that logits of the same weights may differ by, of the largest of their position.
constexpr double logit_tolerance = 1e-3;

struct ExportMemo;

/// Both are run with f32 keys and values, over a fixed text in the first one's tokens, or over
/// fixed ids without a tokenizer. One block of one model at a time is loaded. What the first one
/// computes is taken from `memo` or left there, if there is one.
Result<LogitComparison> compare_logits(const Checkpoint& wanted, const Checkpoint& written,
                                       Compute& compute, std::int64_t tokens, Feedback& feedback,
                                       ExportMemo* memo = nullptr);

} // namespace bitlathe
