// SPDX-License-Identifier: Apache-2.0
#include "core/methods/soft_rounding.h"

#include "kernels/nn/backward.h"

#include <cmath>

namespace bitlathe {

namespace {

constexpr float stretch = 1.2f, below = -0.1f; ///< of the rectified sigmoid
constexpr double first_beta = 20, last_beta = 2;

/// The rounding of one linear while it is soft.
class SoftRounding {
 public:
  explicit SoftRounding(LearnedLinear& linear)
      : linear_(linear), top_(float((1 << linear.grids.spec.bits) - 1)), v_(linear.values.size()),
        mean_(v_.size()), square_(v_.size()), lower_(v_.size()) {
    each_group(linear_, [&](std::int64_t row, std::int64_t from, std::int64_t to, std::size_t g) {
      const IntGrid& grid = linear_.grids.grids[g];
      const float* w = linear_.weight.data() + row * linear_.cols;
      const bool zeros = std::all_of(w + from, w + to, [](float x) { return x == 0.0f; });
      for (std::int64_t c = from; c < to; ++c) {
        const float scaled = w[c] * grid.inverse, down = std::floor(scaled);
        const auto i = std::size_t(row * linear_.cols + c);
        lower_[i] = std::int16_t(std::clamp(down + float(grid.zero), -2.0f, top_ + 1));
        // A group of zeros stays one, for good: nothing moves where h is clipped.
        v_[i] = zeros ? -50.0f : -std::log(stretch / (scaled - down - below) - 1.0f);
      }
    });
  }

  /// Soft values, or decided ones.
  void put(bool decided) {
    each_piece([&](std::int64_t at, std::int64_t n, const IntGrid& grid) {
      float share[piece];
      shares(at, n, share);
      for (std::int64_t i = 0; i < n; ++i) {
        const float up = decided ? float(share[i] >= 0.5f) : std::clamp(share[i], 0.0f, 1.0f);
        const float code = std::clamp(float(lower_[std::size_t(at + i)]) + up, 0.0f, top_);
        linear_.values[std::size_t(at + i)] = grid.scale * (code - float(grid.zero));
      }
    });
  }

  /// One step of Adam along the slopes times `factor`, and of the deciding term unless beta is 0.
  void step(std::int64_t count, double lr, double factor, double strength, double beta) {
    constexpr float keep_mean = 0.9f, keep_square = 0.999f;
    const auto rate = float(lr / (1.0 - std::pow(double(keep_mean), double(count + 1))));
    const auto whole = float(1.0 / (1.0 - std::pow(double(keep_square), double(count + 1))));
    const auto weight = float(strength * 2 * beta), share_of = float(factor);
    each_piece([&](std::int64_t at, std::int64_t n, const IntGrid& grid) {
      float share[piece], pull[piece];
      shares(at, n, share);
      if (weight > 0) { // |2h - 1|^(beta - 1)
        for (std::int64_t i = 0; i < n; ++i)
          pull[i] = std::log(std::fabs(2 * share[i] - 1));
        exponential(pull, n, float(beta) - 1);
      }
      for (std::int64_t i = 0; i < n; ++i) {
        const auto j = std::size_t(at + i);
        const float h = share[i], code = float(lower_[j]) + h;
        float slope = 0;
        if (h >= 0.0f && h <= 1.0f) {
          if (code >= 0.0f && code <= top_)
            slope = share_of * linear_.slope[j] * grid.scale;
          if (weight > 0)
            slope -= weight * std::copysign(pull[i], 2 * h - 1);
          const float sigmoid = (h - below) / stretch;
          slope *= stretch * sigmoid * (1 - sigmoid);
        }
        mean_[j] = keep_mean * mean_[j] + (1 - keep_mean) * slope;
        square_[j] = keep_square * square_[j] + (1 - keep_square) * slope * slope;
        v_[j] -= rate * mean_[j] / (std::sqrt(square_[j] * whole) + 1e-12f);
      }
    });
  }

 private:
  static constexpr std::int64_t piece = 256;

  /// body(first value, how many, grid)
  template <class Body> void each_piece(Body body) {
    each_group(linear_, [&](std::int64_t row, std::int64_t from, std::int64_t to, std::size_t g) {
      for (std::int64_t c = from; c < to; c += piece)
        body(row * linear_.cols + c, std::min(piece, to - c), linear_.grids.grids[g]);
    });
  }
  /// 1.2 sigmoid(V) - 0.1
  void shares(std::int64_t at, std::int64_t n, float* out) const {
    std::copy_n(v_.begin() + at, n, out);
    exponential(out, n, -1.0f);
    for (std::int64_t i = 0; i < n; ++i)
      out[i] = stretch / (1.0f + out[i]) + below;
  }

  LearnedLinear& linear_;
  const float top_;
  std::vector<float> v_, mean_, square_;
  std::vector<std::int16_t> lower_; ///< the code below
};

} // namespace

Result<void> learn_soft_rounding(std::span<LearnedLinear> linears, OutputLoss& loss,
                                 const SoftSettings& settings, double start,
                                 const std::string& what, Feedback& feedback) {
  std::vector<SoftRounding> soft;
  double weights = 0;
  for (LearnedLinear& linear : linears) {
    soft.emplace_back(linear);
    weights += double(linear.values.size());
  }
  const double factor = start > 0 ? 1.0 / start : 1.0;
  for (std::int64_t i = 0; i < settings.iterations; ++i) {
    if (feedback.stopped())
      return cancelled_error();
    if (i % 50 == 0)
      feedback.set_step(what + ": rounding, step " + std::to_string(i) + " of " +
                        std::to_string(settings.iterations));
    for (SoftRounding& rounding : soft)
      rounding.put(false);
    TRY(loss.step(i));
    const double done = double(i) / double(settings.iterations);
    const double left = (1 - done) / (1 - settings.warmup);
    const double beta =
        done < settings.warmup ? 0 : last_beta + (first_beta - last_beta) * std::max(0.0, left);
    for (SoftRounding& rounding : soft)
      rounding.step(i, settings.lr, factor, settings.strength / weights, beta);
  }
  for (SoftRounding& rounding : soft)
    rounding.put(true);
  return {};
}

} // namespace bitlathe
