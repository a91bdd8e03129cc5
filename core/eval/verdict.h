// SPDX-License-Identifier: Apache-2.0
// What measured figures allow to be said, in words: a difference smaller than its error or than
// the noise floor is not a difference.
#pragma once

#include "core/eval/eval.h"

namespace bitlathe {

enum class Standing { unknown, same, close, worse, better, broken };

struct Verdict {
  Standing standing = Standing::unknown;
  std::string text; ///< "not distinguishable from the original", "1.4 % higher perplexity"
  std::string why;  ///< the figures behind it
};

/// The paired error when the report carries it, else from the two separate errors (an upper bound).
double ratio_error(const CompareResult& model, const CompareReport& report);
/// Mean KL minus two standard errors is not above the noise floor.
bool kl_within_noise(const CompareResult& model, const CompareReport& report);
/// The perplexity ratio is within two standard errors of 1.
bool ppl_within_error(const CompareResult& model, const CompareReport& report);
Verdict judge(const CompareResult& model, const CompareReport& report);

} // namespace bitlathe
