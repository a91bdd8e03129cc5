// SPDX-License-Identifier: Apache-2.0
#include "core/methods/learned_loss.h"

#include "kernels/base/parallel.h"

#include <algorithm>
#include <cstdio>
#include <numeric>

namespace bitlathe {

namespace {

constexpr std::int64_t piece = 4096; ///< values whose squares are summed together

/// out = a - b, and the sum of squares, in a fixed order.
double subtract(std::span<const float> a, std::span<const float> b, std::vector<float>& out) {
  const auto n = std::int64_t(a.size()), pieces = (n + piece - 1) / piece;
  out.resize(a.size());
  std::vector<double> sums(static_cast<std::size_t>(pieces));
  parallel_for(pieces, 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      double sum = 0;
      for (std::int64_t j = i * piece; j < std::min(n, (i + 1) * piece); ++j) {
        const float d = a[std::size_t(j)] - b[std::size_t(j)];
        out[std::size_t(j)] = d;
        sum += double(d) * double(d);
      }
      sums[std::size_t(i)] = sum;
    }
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

} // namespace

Result<std::unique_ptr<LinearLoss>> LinearLoss::create(LearnedLinear& linear, Compute& compute) {
  std::unique_ptr<LinearLoss> out(new LinearLoss(linear, compute));
  const InputStatistics& inputs = *linear.inputs;
  const std::int64_t n = inputs.cols;
  const double share = 1.0 / double(std::max<std::int64_t>(1, inputs.tokens));
  out->moments_.resize(std::size_t(n * n));
  for (std::int64_t a = 0; a < n; ++a)
    for (std::int64_t b = 0; b <= a; ++b)
      out->moments_[std::size_t(a * n + b)] = out->moments_[std::size_t(b * n + a)] =
          float(inputs.moment(a, b) * share);
  MatrixView view;
  view.layout = find_layout("float");
  view.rows = view.cols = n;
  view.codes = std::as_bytes(std::span(out->moments_));
  TRY_ASSIGN(out->loaded_, compute.load(view));
  return out;
}

Result<double> LinearLoss::run(bool slope) {
  const std::int64_t rows = linear_.rows, cols = linear_.cols;
  subtract(linear_.values, linear_.weight, difference_);
  product_.resize(difference_.size());
  TRY(compute_.matmul(difference_.data(), rows, *loaded_, product_.data()));
  std::vector<double> sums(static_cast<std::size_t>(rows));
  if (slope)
    linear_.slope.resize(product_.size());
  parallel_for(rows, std::max<std::int64_t>(1, 16384 / cols),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t r = begin; r < end; ++r) {
                   double sum = 0;
                   for (std::int64_t i = r * cols; i < (r + 1) * cols; ++i) {
                     const float half = product_[std::size_t(i)];
                     sum += double(difference_[std::size_t(i)]) * double(half);
                     if (slope)
                       linear_.slope[std::size_t(i)] = 2 * half;
                   }
                   sums[std::size_t(r)] = sum;
                 }
               });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

Result<std::unique_ptr<BlockLoss>>
BlockLoss::create(CalibratedBlock& block, std::vector<LearnedLinear>& linears, std::int64_t batch) {
  BlockParameters parameters;
  for (const BlockLinear& linear : block.linears) {
    Parameter& to = parameters[linear.module->part];
    to.rows = linear.module->weight.rows;
    to.cols = linear.module->weight.cols;
    to.weight = linear.weight;
    to.bias = linear.bias;
  }
  for (const BlockWeight& norm : block.norms)
    parameters[norm.module->part] = {1, std::int64_t(norm.weight.size()), norm.weight, norm.bias};
  TRY_ASSIGN(DecoderBlock decoder, DecoderBlock::create(block.spec(), block.layer,
                                                        std::move(parameters), &block.compute()));
  return std::unique_ptr<BlockLoss>(new BlockLoss(block, linears, std::move(decoder), batch));
}

BlockLoss::BlockLoss(CalibratedBlock& source, std::vector<LearnedLinear>& linears,
                     DecoderBlock block, std::int64_t batch)
    : source_(source), linears_(linears), block_(std::move(block)),
      batch_(std::clamp<std::int64_t>(batch, 1, std::max<std::int64_t>(1, source.samples()))),
      order_(std::size_t(source.samples())), targets_(order_.size()) {
  for (const LearnedLinear& linear : linears)
    gradients_[linear.part]; // filled while a step runs
  // What is kept of a token for the way back, about; half a GiB of it at a time.
  const ModelSpec& s = source.spec();
  const std::int64_t of_token = 12 * s.hidden + 3 * (s.heads + s.kv_heads) * s.head_dim + 7 * s.ffn;
  most_tokens_ = std::max<std::int64_t>(1, (std::int64_t(1) << 27) / of_token);
}

/// The block's weights and gradients become those of the linears, or the other way round.
void BlockLoss::exchange() {
  for (LearnedLinear& linear : linears_) {
    block_.parameters()[linear.part].weight.swap(linear.values);
    gradients_[linear.part].weight.swap(linear.slope);
  }
}

Result<double> BlockLoss::whole() {
  std::vector<std::int64_t> all(std::size_t(source_.samples()));
  std::iota(all.begin(), all.end(), std::int64_t(0));
  return run(all, false);
}

Result<double> BlockLoss::step(std::int64_t index) {
  // Every sample once before any comes twice.
  const auto samples = std::int64_t(order_.size());
  std::vector<std::int64_t> chosen;
  for (std::int64_t i = 0; i < batch_ && samples > 0; ++i) {
    const std::int64_t at = index * batch_ + i;
    if (at / samples != epoch_) {
      epoch_ = at / samples;
      SmallRandom random(std::uint64_t(source_.recipe().seed) * 1000003u +
                         std::uint64_t(source_.layer) * 8191u + std::uint64_t(epoch_));
      std::iota(order_.begin(), order_.end(), std::int64_t(0));
      for (std::int64_t n = samples; n > 1; --n)
        std::swap(order_[std::size_t(n - 1)], order_[std::size_t(random.below(n))]);
    }
    chosen.push_back(order_[std::size_t(at % samples)]);
  }
  std::sort(chosen.begin(), chosen.end()); // the order in which they are stored
  return run(chosen, true);
}

Result<double> BlockLoss::run(std::span<const std::int64_t> samples, bool slopes) {
  double sum = 0, count = 0;
  const std::int64_t hidden = source_.spec().hidden;
  if (slopes)
    for (LearnedLinear& linear : linears_)
      linear.slope.assign(linear.values.size(), 0.0f);
  std::vector<std::int64_t> sizes;
  for (const std::int64_t sample : samples) {
    TRY_ASSIGN(const auto x, source_.input(sample));
    count += double(x.size());
    sizes.push_back(std::int64_t(x.size()) / hidden);
  }
  exchange();
  Result<double> result = 0.0;
  for (std::size_t at = 0; at < samples.size() && result.ok();) {
    lengths_.clear();
    x_.clear();
    target_.clear();
    for (std::int64_t tokens = 0; at < samples.size(); ++at) {
      tokens += sizes[at];
      if (!lengths_.empty() && tokens > most_tokens_)
        break;
      const auto x = source_.input(samples[at]);
      if (x)
        x_.insert(x_.end(), x->begin(), x->end());
      const auto added = x ? add_target(samples[at]) : Result<void>(x.error());
      if (!added) {
        result = added.error();
        break;
      }
      lengths_.push_back(sizes[at]);
    }
    if (result.ok())
      result = run_together(slopes, count);
    if (result.ok())
      sum += *result;
  }
  exchange();
  if (!result.ok())
    return result;
  return sum / std::max(count, 1.0);
}

Result<void> BlockLoss::add_target(std::int64_t sample) {
  constexpr std::size_t most = std::size_t(1) << 27; // half a GiB
  auto& kept = targets_[std::size_t(sample)];
  if (kept.empty()) {
    TRY_ASSIGN(const auto y, source_.target(sample));
    if (y.size() * targets_.size() > most) {
      target_.insert(target_.end(), y.begin(), y.end());
      return {};
    }
    kept.assign(y.begin(), y.end());
  }
  target_.insert(target_.end(), kept.begin(), kept.end());
  return {};
}

Result<double> BlockLoss::run_together(bool slopes, double count) {
  const Feedback& feedback = source_.feedback();
  TRY(block_.forward(x_, lengths_, tape_, &feedback));
  const double sum = subtract(tape_.out, target_, slope_);
  if (slopes) {
    const auto factor = float(2.0 / count);
    for (float& v : slope_)
      v *= factor;
    TRY(block_.backward(tape_, slope_, gradients_, nullptr, &feedback));
  }
  return sum;
}

Result<void> learn_block(CalibratedBlock& block, std::vector<LearnedLinear>& linears,
                         std::int64_t batch,
                         const std::function<Result<void>(OutputLoss&, double start)>& learn) {
  TRY_ASSIGN(const auto loss, BlockLoss::create(block, linears, batch));
  const LearnedChoice start = present_choice(linears);
  choose(linears, rounded_choice(linears));
  TRY_ASSIGN(const double of_rounded, loss->whole());
  choose(linears, start);
  TRY_ASSIGN(const double of_start, loss->whole());
  double best = of_start;
  if (of_start > 0) {
    TRY(learn(*loss, of_start));
    TRY_ASSIGN(best, loss->whole());
  }
  if (!(best <= of_start)) {
    choose(linears, start);
    best = of_start;
  }
  const std::string name = "block " + std::to_string(block.layer + 1);
  std::string note;
  if (!(best <= of_rounded)) {
    choose(linears, rounded_choice(linears));
    note = name + ": learning found nothing better than round to nearest, which was kept";
  } else if (of_rounded > 0) {
    char line[120];
    std::snprintf(line, sizeof line, "%s: learned; its error is %.3f of round to nearest's",
                  name.c_str(), best / of_rounded);
    block.feedback().log(LogLevel::info, line);
  }
  return finish_learning(block, linears, note);
}

std::uint64_t SmallRandom::next() { // splitmix64
  std::uint64_t z = state_ += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

} // namespace bitlathe
