// SPDX-License-Identifier: Apache-2.0
// Activation statistics while calibration text runs through the model.
#include "core/calib/statistics.h"
#include "core/engine/residency.h"
#include "kernels/base/parallel.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace bitlathe {

std::vector<float> ActivationModule::channel_absmax() const {
  std::vector<float> out(channel_min.size());
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = std::max(std::abs(channel_min[i]), std::abs(channel_max[i]));
  return out;
}

std::vector<float> ActivationModule::importance() const {
  std::vector<float> out(channel_sum2.size(), 1.0f);
  for (std::size_t i = 0; i < out.size() && tokens > 0; ++i)
    out[i] = float(channel_sum2[i] / double(tokens));
  return out;
}

std::vector<std::int64_t> ActivationModule::outlier_channels(double factor) const {
  const auto absmax = channel_absmax();
  if (absmax.empty())
    return {};
  auto sorted = absmax;
  const auto middle = sorted.begin() + std::ptrdiff_t(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  std::vector<std::int64_t> out;
  for (std::size_t i = 0; i < absmax.size(); ++i)
    if (double(absmax[i]) > factor * double(*middle))
      out.push_back(std::int64_t(i));
  return out;
}

namespace {

constexpr std::size_t bins = 2048;

/// Everything known so far about one distinct input. Sums run over tokens in order, separately for
/// every column, so they do not depend on threads.
class Accumulator {
 public:
  explicit Accumulator(std::size_t columns)
      : low_(columns, INFINITY), high_(columns, -INFINITY), zeros_(columns), histogram_(bins) {
    for (auto& sums : sums_)
      sums.resize(columns);
  }

  /// False when a value is NaN or infinite.
  bool add(const float* x, std::int64_t tokens) {
    const auto columns = std::int64_t(low_.size());
    std::atomic<bool> finite{true};
    parallel_for(columns, std::max<std::int64_t>(64, 32768 / tokens),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t t = 0; t < tokens; ++t)
                     add_row(x + t * columns, std::size_t(begin), std::size_t(end));
                   for (std::int64_t c = begin; c < end; ++c)
                     if (!std::isfinite(sums_[1][std::size_t(c)]))
                       finite = false;
                 });
    if (!finite)
      return false;
    const auto [least, greatest] = std::minmax_element(x, x + tokens * columns);
    const double share = tokens_ == 0 ? 1 : 0.1;
    average_min_ += share * (double(*least) - average_min_);
    average_max_ += share * (double(*greatest) - average_max_);
    tokens_ += std::uint64_t(tokens);
    fit_range(double(*std::min_element(low_.begin(), low_.end())),
              double(*std::max_element(high_.begin(), high_.end())));
    count(x, tokens * columns);
    return true;
  }

  ActivationModule result(const std::string& name) const {
    ActivationModule out;
    out.name = name;
    out.tokens = tokens_;
    out.channel_min = low_;
    out.channel_max = high_;
    out.channel_sum = sums_[0];
    out.channel_sum2 = sums_[1];
    out.histogram = histogram_;
    out.histogram_lo = lo_;
    out.histogram_hi = hi_;
    out.average_min = average_min_;
    out.average_max = average_max_;
    Moments& m = out.moments;
    m.count = tokens_ * low_.size();
    for (std::size_t c = 0; c < low_.size(); ++c) {
      m.min = c == 0 ? low_[c] : std::min(m.min, low_[c]);
      m.max = c == 0 ? high_[c] : std::max(m.max, high_[c]);
      m.zeros += zeros_[c];
      m.sum += sums_[0][c];
      m.sum2 += sums_[1][c];
      m.sum3 += sums_[2][c];
      m.sum4 += sums_[3][c];
    }
    m.absmax = std::max(std::abs(m.min), std::abs(m.max));
    return out;
  }

 private:
  void add_row(const float* row, std::size_t begin, std::size_t end) {
    for (std::size_t c = begin; c < end; ++c) {
      const float v = row[c];
      const double d = double(v), d2 = d * d;
      low_[c] = v < low_[c] ? v : low_[c];
      high_[c] = v > high_[c] ? v : high_[c];
      zeros_[c] += v == 0.0f;
      sums_[0][c] += d;
      sums_[1][c] += d2;
      sums_[2][c] += d2 * d;
      sums_[3][c] += d2 * d2;
    }
  }

  /// Doubles the histogram's range, away from the side that holds, until it covers [lo, hi].
  void fit_range(double lo, double hi) {
    if (!(lo_ < hi_)) {
      lo_ = lo;
      hi_ = hi > lo ? hi : lo + std::max(1e-6, std::abs(lo) * 1e-3);
    }
    while (lo < lo_ || hi > hi_) {
      std::vector<std::uint64_t> merged(bins);
      const bool down = lo < lo_;
      for (std::size_t i = 0; i < bins; ++i)
        merged[(down ? bins / 2 : 0) + i / 2] += histogram_[i];
      histogram_.swap(merged);
      (down ? lo_ : hi_) += (down ? -1.0 : 1.0) * (hi_ - lo_);
    }
  }

  void count(const float* x, std::int64_t n) {
    const double inverse = double(bins) / (hi_ - lo_);
    const std::int64_t piece = 1 << 16, pieces = (n + piece - 1) / piece;
    std::mutex mutex; // counts are whole numbers: the order of additions does not matter
    parallel_for(pieces, 1, [&](std::int64_t begin, std::int64_t end) {
      std::array<std::uint64_t, bins> counts{};
      for (std::int64_t i = begin * piece; i < std::min(n, end * piece); ++i) {
        const auto bin = std::int64_t((double(x[i]) - lo_) * inverse);
        ++counts[std::size_t(std::clamp<std::int64_t>(bin, 0, bins - 1))];
      }
      const std::lock_guard lock(mutex);
      for (std::size_t i = 0; i < bins; ++i)
        histogram_[i] += counts[i];
    });
  }

  std::uint64_t tokens_ = 0;
  std::vector<float> low_, high_;
  std::vector<std::uint64_t> zeros_;
  std::array<std::vector<double>, 4> sums_; ///< of the first four powers, per column
  std::vector<std::uint64_t> histogram_;
  double lo_ = 0, hi_ = 0;
  double average_min_ = 0, average_max_ = 0;
};

/// Linears that read the same input (q, k and v; gate and up) share one accumulator. The first run
/// finds out which they are: the engine calls them one after the other with the same pointer.
class Collector {
 public:
  void operator()(const Module& module, const float* x, std::int64_t tokens) {
    if (!problem.empty())
      return;
    auto& entry = entries_[&module];
    if (!entry.sums) {
      const bool same = previous_ && previous_->layer == module.layer && x == previous_x_ &&
                        tokens == previous_tokens_ && previous_->weight.cols == module.weight.cols;
      entry.first = !same;
      entry.sums = same ? entries_[previous_].sums
                        : std::make_shared<Accumulator>(std::size_t(module.weight.cols));
    }
    if (entry.first && !entry.sums->add(x, tokens))
      problem = module.name;
    previous_ = &module;
    previous_x_ = x;
    previous_tokens_ = tokens;
  }

  void results(std::map<std::string, ActivationModule>& out) const {
    for (const auto& [module, entry] : entries_)
      out[module->name] = entry.sums->result(module->name);
  }

  std::string problem; ///< module with NaN or infinite activations

 private:
  struct Entry {
    std::shared_ptr<Accumulator> sums;
    bool first = false; ///< the one of its group that adds
  };
  std::map<const Module*, Entry> entries_;
  const Module* previous_ = nullptr;
  const float* previous_x_ = nullptr;
  std::int64_t previous_tokens_ = 0;
};

/// " (3 NaN and 0 infinite values)"
std::string broken_values(const EngineActivity& activity, const std::string& name) {
  for (const ModuleActivity& module : activity.modules)
    if (module.module == name && module.counts.broken_tokens > 0)
      return " (" + std::to_string(module.counts.nan) + " NaN and " +
             std::to_string(module.counts.inf) + " infinite values in " +
             std::to_string(module.counts.broken_tokens) + " tokens)";
  return {};
}

} // namespace

Result<ActivationStatistics> calibrate(std::shared_ptr<const Checkpoint> checkpoint,
                                       Compute& compute,
                                       const std::vector<std::vector<std::int32_t>>& samples,
                                       Feedback& feedback, EngineOptions options) {
  if (samples.empty())
    return Error{"bad-argument", "There are no calibration samples", {}};
  std::size_t longest = 0;
  for (const auto& sample : samples)
    longest = std::max(longest, sample.size());
  Collector collector;
  options.tap = [&](const Module& module, const float* x, std::int64_t tokens) {
    collector(module, x, tokens);
  };
  if (!options.residency)
    options.residency = default_residency(compute);
  TRY_ASSIGN(const auto engine, Engine::create(checkpoint, compute, options));
  if (const auto trained = engine->spec().context; trained > 0 && std::int64_t(longest) > trained)
    feedback.log(LogLevel::warning, "Samples of " + std::to_string(longest) +
                                        " tokens are above the trained length of " +
                                        std::to_string(trained));
  TRY_ASSIGN(const auto sequence, engine->new_sequence(std::int64_t(longest)));
  ActivationStatistics out;
  feedback.total = samples.size();
  feedback.done = 0;
  for (const auto& sample : samples) {
    sequence->clear();
    TRY(engine->forward(*sequence, sample, std::int64_t(sample.size()), {}, &feedback));
    if (!collector.problem.empty())
      return Error{"bad-file",
                   "The input of " + collector.problem + " became NaN or infinite in sample " +
                       std::to_string(out.samples + 1) +
                       broken_values(engine->activity(), collector.problem) +
                       "; the weights may be damaged",
                   checkpoint->path.string()};
    ++out.samples;
    out.tokens += std::int64_t(sample.size());
    feedback.advance(1);
  }
  out.length = std::int64_t(longest);
  for (const KvCounts& layer : engine->activity().layers)
    out.kv_absmax.push_back({layer.key_absmax, layer.value_absmax});
  collector.results(out.modules);
  out.record = make_record({}, samples);
  return out;
}

} // namespace bitlathe
