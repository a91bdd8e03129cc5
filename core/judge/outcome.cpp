// SPDX-License-Identifier: Apache-2.0
#include "core/judge/outcome.h"

#include <algorithm>
#include <cmath>

namespace bitlathe {

Outcome outcome_of(const Transcript& transcript, std::size_t side) {
  Outcome out;
  if (side == 0 || side >= transcript.sides.size())
    return out;
  const TranscriptSide &reference = transcript.sides[0], &other = transcript.sides[side];
  out.failed = reference.failed() || other.failed();
  if (!reference.complete() || !other.complete())
    return out;
  out.known = true;
  out.tokens = std::int64_t(reference.ids.size());
  const Pieces a = reference.token_pieces(), b = other.token_pieces();
  out.parts_at = first_divergence(a, true, b, true);
  if (const std::size_t longer = std::max(a.size(), b.size()); longer > 0)
    out.shared = double(common_pieces(a, b)) / double(longer);
  double sum = 0, common = 0;
  std::int64_t in_common = 0;
  for (std::size_t i = 0; i < other.kl.size(); ++i) {
    const double kl = other.kl[i];
    if (!std::isfinite(kl))
      continue;
    sum += kl;
    ++out.kl_tokens;
    if (out.parts_at < 0 || std::int64_t(i) <= out.parts_at) {
      common += kl;
      ++in_common;
    }
    if (out.kl_max_at < 0 || kl > out.kl_max) {
      out.kl_max = kl;
      out.kl_max_at = std::int64_t(i);
    }
  }
  if (out.kl_tokens > 0)
    out.kl_mean = sum / double(out.kl_tokens);
  if (in_common > 0)
    out.kl_mean_common = common / double(in_common);
  return out;
}

SetOutcome outcome_of(const std::vector<Transcript>& transcripts, std::size_t side) {
  std::vector<Outcome> outcomes;
  for (const Transcript& transcript : transcripts)
    outcomes.push_back(outcome_of(transcript, side));
  return sum_of(outcomes);
}

SetOutcome sum_of(const std::vector<Outcome>& outcomes) {
  SetOutcome out;
  std::vector<std::int64_t> places;
  double sum = 0, sum2 = 0;
  for (const Outcome& one : outcomes) {
    out.failed += one.failed;
    if (!one.known)
      continue;
    ++out.prompts;
    if (one.parts_at < 0)
      ++out.same;
    else
      places.push_back(one.parts_at);
    if (one.kl_tokens > 0) {
      ++out.kl_prompts;
      sum += one.kl_mean;
      sum2 += one.kl_mean * one.kl_mean;
    }
  }
  if (!places.empty()) {
    std::sort(places.begin(), places.end());
    out.median_parts_at = places[(places.size() - 1) / 2];
  }
  if (out.prompts > 0) {
    constexpr double z = 1.959963984540054;
    const double n = double(out.prompts), p = double(out.same) / n, z2 = z * z;
    const double middle = (p + z2 / (2 * n)) / (1 + z2 / n);
    const double reach = z / (1 + z2 / n) * std::sqrt(p * (1 - p) / n + z2 / (4 * n * n));
    out.same_low = std::max(0.0, middle - reach);
    out.same_high = std::min(1.0, middle + reach);
  }
  if (out.kl_prompts > 0) {
    const double n = double(out.kl_prompts);
    out.kl_mean = sum / n;
    if (out.kl_prompts > 1)
      out.kl_stderr = std::sqrt(std::max(0.0, sum2 / n - out.kl_mean * out.kl_mean) / (n - 1));
  }
  return out;
}

std::string outcome_text(const Outcome& outcome) {
  if (!outcome.known)
    return "not compared";
  if (outcome.parts_at >= 0)
    return "parts at token " + std::to_string(outcome.parts_at + 1);
  return outcome.tokens == 1 ? "the same single token"
                             : "the same, all " + std::to_string(outcome.tokens) + " tokens";
}

} // namespace bitlathe
