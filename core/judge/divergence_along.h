// SPDX-License-Identifier: Apache-2.0
// How far candidates are from a reference at every token of the reference's own text: each is fed
// the same ids, whatever it would have written itself.
#pragma once

#include "core/engine/engine.h"

namespace bitlathe {

struct DivergenceAlong {
  std::vector<double> kl;       ///< KL(reference || candidate) of what each token was drawn from
  std::vector<double> logprobs; ///< the candidate's, of the reference's tokens
  std::string problem;          ///< why there are none: another vocabulary, broken logits
  std::vector<std::string> notes;
};

/// One entry per candidate. `ids` follow `prompt`, which must not be empty; all logits are f32 and
/// whole, and neither model's are kept longer than a piece of the text. What one candidate cannot
/// do stays with it; the error is the reference's, or "cancelled".
Result<std::vector<DivergenceAlong>> divergence_along(Engine& reference,
                                                      std::span<Engine* const> candidates,
                                                      std::span<const std::int32_t> prompt,
                                                      std::span<const std::int32_t> ids,
                                                      const Feedback& feedback);

} // namespace bitlathe
