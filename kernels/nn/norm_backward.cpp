// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/parallel.h"
#include "kernels/nn/backward.h"
#include "kernels/nn/lane_sum.h"

#include <algorithm>
#include <cmath>

namespace bitlathe {

namespace {

std::int64_t grain(std::int64_t values) {
  return std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(1, values));
}

struct Token {
  float mean = 0, factor = 0; ///< the normalised value is (x - mean) * factor
};

void backward(bool centred, const float* x, const float* weight, const float* dy,
              std::int64_t tokens, std::int64_t dim, float eps, float* dx, float* dweight,
              float* dbias) {
  std::vector<Token> found(static_cast<std::size_t>(tokens));
  parallel_for(tokens, grain(dim), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float* in = x + t * dim;
      const double mean =
          centred ? sum_of(dim, [in](std::int64_t i) { return double(in[i]); }) / double(dim) : 0.0;
      const double square = sum_of(dim, [in, mean](std::int64_t i) {
        const double d = double(in[i]) - mean;
        return d * d;
      });
      found[std::size_t(t)] = {float(mean),
                               float(1.0 / std::sqrt(square / double(dim) + double(eps)))};
    }
  });
  // Parameters first: dx may be dy.
  if (dweight || dbias)
    parallel_for(dim, std::max<std::int64_t>(16, grain(tokens)),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t t = 0; t < tokens; ++t) {
                     const Token token = found[std::size_t(t)];
                     const float *in = x + t * dim, *g = dy + t * dim;
                     if (dweight)
                       for (std::int64_t i = begin; i < end; ++i)
                         dweight[i] += g[i] * ((in[i] - token.mean) * token.factor);
                     if (dbias)
                       for (std::int64_t i = begin; i < end; ++i)
                         dbias[i] += g[i];
                   }
                 });
  parallel_for(tokens, grain(dim), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const auto [mean, factor] = found[std::size_t(t)];
      const float *in = x + t * dim, *g = dy + t * dim;
      const auto slope = [&](std::int64_t i) { return weight ? g[i] * weight[i] : g[i]; };
      const auto value = [&, m = mean, f = factor](std::int64_t i) { return (in[i] - m) * f; };
      const auto shift =
          centred
              ? float(sum_of(dim, [&](std::int64_t i) { return double(slope(i)); }) / double(dim))
              : 0.0f;
      const auto along =
          float(sum_of(dim, [&](std::int64_t i) { return double(slope(i)) * double(value(i)); }) /
                double(dim));
      float* to = dx + t * dim;
      for (std::int64_t i = 0; i < dim; ++i)
        to[i] = factor * (slope(i) - shift - value(i) * along);
    }
  });
}

} // namespace

void rms_norm_backward(const float* x, const float* weight, const float* dy, std::int64_t tokens,
                       std::int64_t dim, float eps, float* dx, float* dweight) {
  backward(false, x, weight, dy, tokens, dim, eps, dx, dweight, nullptr);
}

void layer_norm_backward(const float* x, const float* weight, const float* dy, std::int64_t tokens,
                         std::int64_t dim, float eps, float* dx, float* dweight, float* dbias) {
  backward(true, x, weight, dy, tokens, dim, eps, dx, dweight, dbias);
}

void add_column_sums(const float* x, std::int64_t tokens, std::int64_t dim, float* sums) {
  parallel_for(dim, std::max<std::int64_t>(16, grain(tokens)),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t t = 0; t < tokens; ++t)
                   for (std::int64_t i = begin; i < end; ++i)
                     sums[i] += x[t * dim + i];
               });
}

} // namespace bitlathe
