// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/parallel.h"
#include "kernels/nn/lane_sum.h"
#include "kernels/nn/nn.h"

#include <algorithm>
#include <cmath>

namespace bitlathe {

namespace {

std::int64_t token_grain(std::int64_t dim) {
  return std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(1, dim));
}

} // namespace

void rms_norm(const float* x, const float* weight, std::int64_t tokens, std::int64_t dim, float eps,
              float* out) {
  parallel_for(tokens, token_grain(dim), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float* in = x + t * dim;
      float* to = out + t * dim;
      const double square = sum_of(dim, [in](std::int64_t i) { return double(in[i]) * in[i]; });
      const auto factor = float(1.0 / std::sqrt(square / double(dim) + double(eps)));
      if (weight)
        for (std::int64_t i = 0; i < dim; ++i)
          to[i] = in[i] * factor * weight[i];
      else
        for (std::int64_t i = 0; i < dim; ++i)
          to[i] = in[i] * factor;
    }
  });
}

void layer_norm(const float* x, const float* weight, const float* bias, std::int64_t tokens,
                std::int64_t dim, float eps, float* out) {
  parallel_for(tokens, token_grain(dim), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float* in = x + t * dim;
      float* to = out + t * dim;
      const double mean = sum_of(dim, [in](std::int64_t i) { return double(in[i]); }) / double(dim);
      const double square = sum_of(dim, [in, mean](std::int64_t i) {
        const double d = double(in[i]) - mean;
        return d * d;
      });
      const auto factor = float(1.0 / std::sqrt(square / double(dim) + double(eps)));
      const auto middle = float(mean);
      for (std::int64_t i = 0; i < dim; ++i)
        to[i] = (in[i] - middle) * factor * (weight ? weight[i] : 1.0f) + (bias ? bias[i] : 0.0f);
    }
  });
}

Rope::Rope(std::int64_t rotary, double theta, std::span<const float> factors, float scale)
    : scale_(double(scale)) {
  frequency_.resize(std::size_t(rotary / 2));
  for (std::size_t i = 0; i < frequency_.size(); ++i) {
    frequency_[i] = std::pow(theta, -2.0 * double(i) / double(rotary));
    if (!factors.empty())
      frequency_[i] /= double(factors[i]);
  }
}

void Rope::prepare(std::int64_t first, std::int64_t tokens) {
  if (first == first_ && tokens <= tokens_)
    return;
  const auto pairs = std::int64_t(frequency_.size());
  cos_.resize(std::size_t(tokens * pairs));
  sin_.resize(cos_.size());
  parallel_for(tokens, token_grain(pairs * 16), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t)
      for (std::int64_t i = 0; i < pairs; ++i) {
        const double angle = double(first + t) * frequency_[std::size_t(i)];
        cos_[std::size_t(t * pairs + i)] = float(std::cos(angle) * scale_);
        sin_[std::size_t(t * pairs + i)] = float(std::sin(angle) * scale_);
      }
  });
  first_ = first;
  tokens_ = tokens;
}

void Rope::apply(float* x, std::int64_t first, std::int64_t tokens, std::int64_t heads,
                 std::int64_t head_dim) {
  prepare(first, tokens);
  const auto pairs = std::int64_t(frequency_.size());
  parallel_for(tokens, token_grain(heads * head_dim), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float* c = cos_.data() + t * pairs;
      const float* s = sin_.data() + t * pairs;
      for (std::int64_t h = 0; h < heads; ++h) {
        float* a = x + (t * heads + h) * head_dim;
        float* b = a + pairs;
        for (std::int64_t i = 0; i < pairs; ++i) {
          const float p = a[i], q = b[i];
          a[i] = p * c[i] - q * s[i];
          b[i] = q * c[i] + p * s[i];
        }
      }
    }
  });
}

} // namespace bitlathe
