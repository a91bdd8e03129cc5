// SPDX-License-Identifier: Apache-2.0
// What came of a prompt, and of a whole set of them, for one side against the first.
#pragma once

#include "core/judge/transcripts.h"

namespace bitlathe {

struct Outcome {
  bool known = false;         ///< both sides are complete
  bool failed = false;        ///< one of them could not be run
  std::int64_t parts_at = -1; ///< first different token, from 0; -1: the same tokens throughout
  std::int64_t tokens = 0;    ///< of the reference
  double shared = 1;          ///< tokens in common / tokens of the longer side
  std::int64_t kl_tokens = 0; ///< 0: no divergence was measured
  double kl_mean = 0;         ///< along the whole text of the reference
  double kl_mean_common = 0;  ///< up to the first different token, which is included
  double kl_max = 0;
  std::int64_t kl_max_at = -1; ///< token of the reference
};
Outcome outcome_of(const Transcript& transcript, std::size_t side = 1);

struct SetOutcome {
  std::int64_t prompts = 0, same = 0; ///< compared; with the same tokens throughout
  std::int64_t failed = 0;            ///< one of the sides could not be run
  std::int64_t median_parts_at = -1;  ///< of those that part
  double same_low = 0, same_high = 1; ///< 95 % interval of the share (Wilson)
  std::int64_t kl_prompts = 0;
  double kl_mean = 0, kl_stderr = 0; ///< over prompts, each with the mean of its tokens
};
SetOutcome sum_of(const std::vector<Outcome>& outcomes);
SetOutcome outcome_of(const std::vector<Transcript>& transcripts, std::size_t side = 1);

/// "the same, all 64 tokens", "parts at token 8": one line, tokens counted from 1.
std::string outcome_text(const Outcome& outcome);

} // namespace bitlathe
