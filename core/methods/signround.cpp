// SPDX-License-Identifier: Apache-2.0
// SignRound (Cheng et al. 2023, AutoRound): w' = s (clip(round(w / s + v) + z) - z) with an offset
// v in [-0.5, 0.5] for every weight and factors for the ends of every group's range, from which s
// and z follow. All are moved by the signs of their slopes, rounding passed straight through, by a
// step that falls to zero; what they are judged by is what the whole block puts out.
#include "core/methods/learned_loss.h"

#include <cmath>

namespace bitlathe {

extern const Method method_signround;

namespace {

constexpr MethodParam params[] = {
    {"iterations", "Steps of learning.", 200, 1, 100000, true},
    {"lr", "First step size; it falls to zero. 0: one over the number of steps.", 0, 0, 1},
    {"range_lr", "The same for the ends of ranges. 0: as lr.", 0, 0, 1},
    {"batch", "Samples per step.", 8, 1, 1024, true},
    {"search", "1: start from ranges of least squared error where they are better; 0: full ranges.",
     1, 0, 1, true},
};

struct Settings {
  std::int64_t iterations = 0, batch = 0;
  double lr = 0, range_lr = 0;
  bool search = false;

  explicit Settings(const Json& given) {
    const auto value = [&](std::string_view key) {
      return method_param(method_signround, given, key);
    };
    iterations = std::int64_t(value("iterations"));
    batch = std::int64_t(value("batch"));
    lr = value("lr") > 0 ? value("lr") : 1.0 / double(iterations);
    range_lr = value("range_lr") > 0 ? value("range_lr") : lr;
    search = value("search") > 0;
  }
};

float rne(float x) {
  const float magic = 12582912.0f; // 1.5 * 2^23
  return (x + magic) - magic;
}
float sign(float x) { return x > 0 ? 1.0f : x < 0 ? -1.0f : 0.0f; }

constexpr float least_range = 0.1f, most_range = 1.0f; ///< shares of the range at the start

/// Offsets and ranges of one linear.
class Offsets {
 public:
  explicit Offsets(LearnedLinear& linear)
      : linear_(linear), top_(float((1 << linear.grids.spec.bits) - 1)), start_(linear.grids.grids),
        offset_(linear.values.size()), ends_(start_.size(), {1.0f, 1.0f}) {}

  void put() {
    IntGrids& grids = linear_.grids;
    for (std::size_t g = 0; g < start_.size(); ++g)
      grids.grids[g] = make_int_grid(low(g) * ends_[g].low, high(g) * ends_[g].high,
                                     grids.spec.bits, grids.spec.symmetric, grids.spec.scale_type);
    each_group(linear_, [&](std::int64_t row, std::int64_t from, std::int64_t to, std::size_t g) {
      const IntGrid& grid = grids.grids[g];
      for (std::int64_t i = row * linear_.cols + from; i < row * linear_.cols + to; ++i)
        linear_.values[std::size_t(i)] =
            grid.scale * (std::clamp(unclipped(i, grid), 0.0f, top_) - float(grid.zero));
    });
  }

  void step(float lr, float range_lr) {
    const IntGrids& grids = linear_.grids;
    struct Slopes {
      double scale = 0, low = 0; ///< by the scale; by the lower end through the zero point
    };
    // Per tensor all rows share a grid: their slopes are added in the order of rows.
    std::vector<Slopes> slopes(grids.spec.per_tensor ? std::size_t(linear_.rows) : start_.size());
    each_group(linear_, [&](std::int64_t row, std::int64_t from, std::int64_t to, std::size_t g) {
      const IntGrid& grid = grids.grids[g];
      const float low_code = low(g) * ends_[g].low * grid.inverse;
      Slopes& sum = slopes[grids.spec.per_tensor ? std::size_t(row) : g];
      for (std::int64_t i = row * linear_.cols + from; i < row * linear_.cols + to; ++i) {
        const float slope = linear_.slope[std::size_t(i)], code = unclipped(i, grid);
        const float kept = std::clamp(code, 0.0f, top_), steps = kept - float(grid.zero);
        if (kept == code) {
          float& v = offset_[std::size_t(i)];
          sum.scale += double(slope * (steps - linear_.weight[std::size_t(i)] * grid.inverse));
          v = std::clamp(v - lr * sign(slope), -0.5f, 0.5f);
        } else if (grids.spec.symmetric) {
          sum.scale += double(slope * steps);
        } else {
          sum.scale += double(slope * (steps - low_code));
          sum.low += double(slope);
        }
      }
    });
    if (grids.spec.per_tensor) {
      for (std::size_t row = 1; row < slopes.size(); ++row) {
        slopes[0].scale += slopes[row].scale;
        slopes[0].low += slopes[row].low;
      }
    }
    for (std::size_t g = 0; g < start_.size(); ++g) {
      const double by_high = slopes[g].scale * double(high(g) / top_);
      const double by_low = (slopes[g].low - slopes[g].scale / double(top_)) * double(low(g));
      Ends& ends = ends_[g];
      if (grids.spec.symmetric) { // one factor for both
        ends.low = ends.high = moved(ends.high, range_lr, by_high);
        continue;
      }
      ends.high = moved(ends.high, range_lr, by_high);
      ends.low = moved(ends.low, range_lr, by_low);
    }
  }

 private:
  struct Ends {
    float low, high;
  };

  static float moved(float factor, float lr, double slope) {
    return std::clamp(factor - lr * sign(float(slope)), least_range, most_range);
  }
  /// The range of the grid at the start.
  float low(std::size_t g) const {
    return linear_.grids.spec.symmetric ? -high(g) : -float(start_[g].zero) * start_[g].scale;
  }
  float high(std::size_t g) const {
    const float codes = linear_.grids.spec.symmetric
                            ? float((1 << (linear_.grids.spec.bits - 1)) - 1)
                            : top_ - float(start_[g].zero);
    return codes * start_[g].scale;
  }
  float unclipped(std::int64_t i, const IntGrid& grid) const {
    const float scaled = linear_.weight[std::size_t(i)] * grid.inverse + offset_[std::size_t(i)];
    return rne(std::clamp(scaled, -512.0f, 512.0f)) + float(grid.zero);
  }

  LearnedLinear& linear_;
  const float top_;
  const std::vector<IntGrid> start_;
  std::vector<float> offset_;
  std::vector<Ends> ends_;
};

/// Leaves the best values seen, judged over all of the text every now and then.
Result<void> learn(std::vector<LearnedLinear>& linears, OutputLoss& loss, const Settings& settings,
                   double start, const std::string& what, Feedback& feedback) {
  std::vector<Offsets> offsets;
  for (LearnedLinear& linear : linears)
    offsets.emplace_back(linear);
  LearnedChoice best = present_choice(linears);
  double least = start;
  const auto judge = [&](double found) {
    if (found < least) {
      least = found;
      best = present_choice(linears);
    }
  };
  const std::int64_t rest = std::max<std::int64_t>(1, settings.iterations / 8);
  for (std::int64_t i = 0; i < settings.iterations; ++i) {
    if (feedback.stopped())
      return cancelled_error();
    if (i % 20 == 0)
      feedback.set_step(what + ": learning, step " + std::to_string(i) + " of " +
                        std::to_string(settings.iterations));
    TRY_ASSIGN(const double found, loss.step(i));
    if (loss.steps_are_whole())
      judge(found);
    const auto left = float(1.0 - double(i) / double(settings.iterations));
    for (Offsets& offset : offsets) {
      offset.step(float(settings.lr) * left, float(settings.range_lr) * left);
      offset.put();
    }
    const bool last = i + 1 == settings.iterations;
    if (last || (!loss.steps_are_whole() && (i + 1) % rest == 0)) {
      TRY_ASSIGN(const double now, loss.whole());
      judge(now);
    }
  }
  choose(linears, best);
  return {};
}

Result<MethodOutput> quantize(const MethodInput& input) {
  const Settings settings(input.params);
  std::vector<LearnedLinear> one;
  TRY_ASSIGN(auto linear, start_learning(input, settings.search));
  one.push_back(std::move(linear));
  TRY_ASSIGN(const auto loss, LinearLoss::create(one[0], input.compute));
  TRY_ASSIGN(const double start, loss->whole());
  if (start > 0)
    TRY(learn(one, *loss, settings, start, input.where, input.feedback));
  TRY(keep_better(one[0], one[0].rounded, one[0].rounded_grids));
  return pack_learned(one[0], input.compute, input.feedback);
}

Result<void> prepare(CalibratedBlock& block) {
  const BlockLinear* first = first_to_learn(block, method_signround);
  if (!first)
    return {};
  const Settings settings(first->planned->params);
  TRY_ASSIGN(auto linears, start_learning(block, method_signround, settings.search));
  return learn_block(block, linears, settings.batch, [&](OutputLoss& loss, double start) {
    return learn(linears, loss, settings, start, "block " + std::to_string(block.layer + 1),
                 block.feedback());
  });
}

} // namespace

const Method method_signround{
    .id = "signround",
    .title = "SignRound",
    .summary = "Learns an offset for every weight's rounding and the range of every group by the "
               "signs of slopes, so that what the whole block puts out changes least (AutoRound).",
    .params = params,
    .declines = learned_declines,
    .quantize = quantize,
    .calibrated = true,
    .prepare = prepare};

} // namespace bitlathe
