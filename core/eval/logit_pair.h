// SPDX-License-Identifier: Apache-2.0
// The logits of two models at one position: which of them are of the same tokens, and how far apart
// they are.
#pragma once

#include "core/engine/engine.h"

namespace bitlathe {

/// How many leading entries of the logits two models share; an error when their vocabularies
/// differ. Rows beyond the tokens are padding. What is not quite alike becomes a note.
Result<std::int64_t> shared_vocabulary(const Engine& reference, const Engine& candidate,
                                       std::vector<std::string>& notes);

/// KL(p || q) and KL(q || p) of softmaxed logits, f64; the norms are log_sum_exp of each.
std::pair<double, double> kl_divergences(std::span<const float> p, double p_norm,
                                         std::span<const float> q, double q_norm);

} // namespace bitlathe
