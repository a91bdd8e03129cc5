// SPDX-License-Identifier: Apache-2.0
// Drawing tokens. Everything that decides a token is integer arithmetic or plain f64 operations, so
// that a seed means the same tokens on every machine and C library.
#include "core/engine/engine.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace bitlathe {

namespace {

/// exp for x <= 0 from +, * and ldexp alone: C libraries differ in the last bit of theirs, and that
/// would be enough for another token.
double portable_exp(double x) {
  if (!(x > -700))
    return 0;
  const double k = std::floor(x * 1.4426950408889634 + 0.5);
  const double r = (x - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10;
  double term = 1, sum = 1;
  for (int i = 1; i < 16; ++i) {
    term = term * r / i;
    sum = sum + term;
  }
  return std::ldexp(sum, int(k));
}

/// 53 random bits in [0, 1); the standard fixes the engine's numbers but not its distributions'.
double uniform(std::mt19937_64& random) { return double(random() >> 11) * 0x1p-53; }

} // namespace

Sampler::Sampler(const SamplingOptions& options) : options_(options), random_(options.seed) {}

std::int32_t Sampler::pick(std::span<const float> logits) {
  const auto best = std::int32_t(std::max_element(logits.begin(), logits.end()) - logits.begin());
  if (!(options_.temperature > 0) || logits.size() < 2)
    return best;

  // Likeliest first; equal logits in the order of ids.
  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto likelier = [&](std::int32_t a, std::int32_t b) {
    const float x = logits[std::size_t(a)], y = logits[std::size_t(b)];
    return x != y ? x > y : a < b;
  };
  const auto keep =
      options_.top_k > 0 ? std::min(std::size_t(options_.top_k), order.size()) : order.size();
  std::partial_sort(order.begin(), order.begin() + std::ptrdiff_t(keep), order.end(), likelier);
  order.resize(keep);

  const double top = double(logits[std::size_t(best)]), temperature = double(options_.temperature);
  std::vector<double> weight(order.size());
  double total = 0;
  for (std::size_t i = 0; i < order.size(); ++i)
    total += weight[i] = portable_exp((double(logits[std::size_t(order[i])]) - top) / temperature);

  std::size_t count = order.size();
  if (options_.top_p < 1) { // the shortest list of likeliest tokens that reaches the share
    double sum = 0;
    for (count = 0; count < order.size() && (count == 0 || sum < double(options_.top_p) * total);)
      sum += weight[count++];
    total = sum;
  }
  double left = uniform(random_) * total;
  for (std::size_t i = 0; i < count; ++i) {
    left -= weight[i];
    if (left < 0)
      return order[i];
  }
  return order[count - 1];
}

void log_softmax(std::span<const float> logits, std::span<double> out) {
  const float top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float x : logits)
    sum += std::exp(double(x) - double(top));
  const double norm = double(top) + std::log(sum);
  for (std::size_t i = 0; i < logits.size(); ++i)
    out[i] = double(logits[i]) - norm;
}

} // namespace bitlathe
