// SPDX-License-Identifier: Apache-2.0
// AdaRound (Nagel et al. 2020): every weight goes to the code below or above it, which of the two
// is learned. h(V) = clip(1.2 sigmoid(V) - 0.1, 0, 1) stands between them; Adam lowers the error of
// what is put out plus a term 1 - |2h - 1|^beta that drives h to 0 or 1 as beta falls. With `block`
// all linears of a block are learned together against what the block puts out (BRECQ, Li et al.
// 2021). Both parts of the loss are shares: of the error of round to nearest, and of all weights.
#include "core/methods/learned_loss.h"
#include "kernels/nn/backward.h"

#include <cmath>

namespace bitlathe {

extern const Method method_adaround;

namespace {

constexpr MethodParam params[] = {
    {"block",
     "1: all linears of a block are learned together against what the block puts out (BRECQ); 0: "
     "each by itself.",
     0, 0, 1, true},
    {"iterations", "Steps of learning.", 500, 1, 100000, true},
    {"lr", "Step size of Adam for the rounding variables.", 0.05, 1e-5, 1},
    {"strength", "Weight of the term that drives every rounding to a decision.", 100, 0, 1e6},
    {"warmup", "Share of the steps before that term sets in.", 0.2, 0, 0.9},
    {"batch", "Samples per step; only with block.", 8, 1, 1024, true},
    {"search", "1: start from ranges of least squared error where they are better; 0: full ranges.",
     1, 0, 1, true},
};

constexpr float stretch = 1.2f, below = -0.1f; ///< of the rectified sigmoid
constexpr double first_beta = 20, last_beta = 2;

struct Settings {
  std::int64_t iterations = 0, batch = 0;
  double lr = 0, strength = 0, warmup = 0;
  bool search = false;

  explicit Settings(const Json& given) {
    const auto value = [&](std::string_view key) {
      return method_param(method_adaround, given, key);
    };
    iterations = std::int64_t(value("iterations"));
    batch = std::int64_t(value("batch"));
    lr = value("lr");
    strength = value("strength");
    warmup = value("warmup");
    search = value("search") > 0;
  }
};

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

/// Learns all `linears` against one loss and leaves their decided values. `start` is what the
/// loss is measured by.
Result<void> learn(std::span<LearnedLinear> linears, OutputLoss& loss, const Settings& settings,
                   double start, const std::string& what, Feedback& feedback) {
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

Result<MethodOutput> quantize(const MethodInput& input) {
  const Settings settings(input.params);
  TRY_ASSIGN(LearnedLinear linear, start_learning(input, settings.search));
  LinearLoss loss(linear, input.feedback);
  TRY_ASSIGN(const double start, loss.whole());
  const std::vector<float> before = linear.values;
  const IntGrids grids = linear.grids;
  if (start > 0)
    TRY(learn({&linear, 1}, loss, settings, start, input.where, input.feedback));
  keep_better(linear, before, grids);
  keep_better(linear, linear.rounded, linear.rounded_grids);
  return pack_learned(linear, input.compute, input.feedback);
}

Result<void> prepare(CalibratedBlock& block) {
  if (block.layer < 0 || block.samples() == 0)
    return {}; // the head is learned by itself
  const auto together = [](const BlockLinear& linear) {
    return method_param(method_adaround, linear.planned->params, "block") > 0;
  };
  const BlockLinear* first = nullptr;
  for (const BlockLinear& linear : block.linears)
    if (!first && linear.method == &method_adaround && !linear.output && together(linear))
      first = &linear;
  if (!first)
    return {};
  const Settings settings(first->planned->params);
  TRY_ASSIGN(auto linears, start_learning(block, method_adaround, settings.search, together));
  return learn_block(block, linears, settings.batch, [&](OutputLoss& loss, double start) {
    return learn(linears, loss, settings, start, "layer " + std::to_string(block.layer),
                 block.feedback());
  });
}

} // namespace

const Method method_adaround{"adaround",
                             "AdaRound",
                             "Learns for every weight whether it goes to the code below or above, "
                             "so that what the linear, or "
                             "with block=1 the whole block (BRECQ), puts out changes least.",
                             params,
                             false,
                             learned_declines,
                             quantize,
                             true,
                             prepare};

} // namespace bitlathe
