// SPDX-License-Identifier: Apache-2.0
#include "core/eval/divergence.h"

#include "core/text/tokenizer.h"

#include <algorithm>
#include <cmath>

namespace bitlathe {

Result<std::int64_t> shared_vocabulary(const Checkpoint& a, const Checkpoint& b,
                                       std::vector<std::string>& notes) {
  const std::int64_t rows_a = a.spec->vocab, rows_b = b.spec->vocab;
  const std::int64_t rows = std::min(rows_a, rows_b);
  const auto differs = [&](const std::string& how) {
    return Error{"mismatch",
                 "The vocabulary differs from that of the reference (" + how +
                     "); only models with the same tokens can be compared",
                 b.path.string()};
  };
  if (!a.tokenizer || !b.tokenizer) {
    if (rows_a != rows_b)
      return differs(std::to_string(rows_b) + " logits instead of " + std::to_string(rows_a));
    notes.push_back("Without both tokenizers the vocabularies could only be compared by size");
    return rows;
  }
  // Files may pad the token list; what counts is the tokens that are in use.
  const auto used = [](const Tokenizer& t, std::int32_t id) {
    return t.token_kind(id) != TokenKind::unused && !t.token(id).empty();
  };
  const auto tokens_a = a.tokenizer->vocab_size(), tokens_b = b.tokenizer->vocab_size();
  std::int64_t respelled = 0;
  for (std::int32_t id = 0; id < std::max(tokens_a, tokens_b); ++id) {
    const bool in_a = id < tokens_a && used(*a.tokenizer, id);
    const bool in_b = id < tokens_b && used(*b.tokenizer, id);
    if (!in_a && !in_b)
      continue;
    const auto kind_a = in_a ? a.tokenizer->token_kind(id) : TokenKind::unused;
    const auto kind_b = in_b ? b.tokenizer->token_kind(id) : TokenKind::unused;
    if (in_a != in_b) {
      if (id >= rows) // a token that one of the models cannot even score
        return differs("token " + std::to_string(id) + " exists in only one of them");
      ++respelled;
      continue;
    }
    if (a.tokenizer->token(id) == b.tokenizer->token(id))
      continue;
    if (kind_a == TokenKind::normal && kind_b == TokenKind::normal)
      return differs("token " + std::to_string(id) + " is \"" + b.tokenizer->token(id) +
                     "\" instead of \"" + a.tokenizer->token(id) + "\"");
    ++respelled; // special tokens are often written differently by converters
  }
  if (respelled > 0) {
    // Fillers and special tokens; anything more means another tokenizer.
    if (respelled * 50 > std::max(tokens_a, tokens_b) + 1000)
      return differs(std::to_string(respelled) + " tokens");
    notes.push_back(std::to_string(respelled) +
                    " special or filler tokens are spelled differently; compared by id");
  }
  if (rows_a != rows_b)
    notes.push_back(std::to_string(std::max(rows_a, rows_b) - rows) + " padding rows of " +
                    (rows_a > rows_b ? a.name : b.name) + " are left out of the comparison");
  return rows;
}

std::pair<double, double> kl_divergences(std::span<const float> p, double p_norm,
                                         std::span<const float> q, double q_norm) {
  double forward = 0, reverse = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    const double log_p = double(p[i]) - p_norm, log_q = double(q[i]) - q_norm;
    // Smaller ones add less than any rounding (and -inf must not become NaN).
    if (log_p > -200)
      forward += std::exp(log_p) * (log_p - log_q);
    if (log_q > -200)
      reverse += std::exp(log_q) * (log_q - log_p);
  }
  return {forward, reverse};
}

double kl_divergence(std::span<const float> p, double p_norm, std::span<const float> q,
                     double q_norm) {
  double sum = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    const double log_p = double(p[i]) - p_norm, log_q = double(q[i]) - q_norm;
    if (log_p > -200)
      sum += std::exp(log_p) * (log_p - log_q);
  }
  return sum;
}

} // namespace bitlathe
