// SPDX-License-Identifier: Apache-2.0
// How far one model's logits are from another's, and which of them can be held against each other.
// Internal to core/eval.
#pragma once

#include "core/model/checkpoint.h"

#include <span>

namespace bitlathe {

/// How many leading entries of the logits two runnable models share; an error when their
/// vocabularies differ. Rows beyond the tokens are padding, and what is left out is noted.
Result<std::int64_t> shared_vocabulary(const Checkpoint& reference, const Checkpoint& candidate,
                                       std::vector<std::string>& notes);

/// KL(p || q) and KL(q || p) of softmaxed logits, f64; the norms are log_sum_exp() of each.
std::pair<double, double> kl_divergences(std::span<const float> p, double p_norm,
                                         std::span<const float> q, double q_norm);
/// KL(p || q) alone, the same figure to the last bit.
double kl_divergence(std::span<const float> p, double p_norm, std::span<const float> q,
                     double q_norm);

} // namespace bitlathe
