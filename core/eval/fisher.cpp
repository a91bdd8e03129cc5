// SPDX-License-Identifier: Apache-2.0
#include "core/eval/fisher.h"

#include "core/model/transpose.h"
#include "core/schemes/deferred.h"
#include "core/train/block.h"
#include "kernels/base/parallel.h"
#include "kernels/nn/nn.h"

#include <algorithm>
#include <cmath>

namespace bitlathe {

namespace {

/// One of many independent streams of bits.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

struct Schedule {
  std::vector<std::int64_t> windows; ///< of the text, evenly spread
  std::int64_t draws = 1;            ///< directions per window
  std::int64_t samples() const { return std::int64_t(windows.size()) * draws; }
};

Schedule schedule_of(const ScoredText& text, std::int64_t samples) {
  Schedule out;
  const std::int64_t count = std::min(text.count(), std::max<std::int64_t>(1, samples));
  for (std::int64_t i = 0; i < count; ++i)
    out.windows.push_back(i * text.count() / count);
  out.draws = std::max<std::int64_t>(1, (samples + count - 1) / count);
  return out;
}

class FisherPass {
 public:
  FisherPass(SwapBase& original, OriginalLogits& logits, const ScoredText& text, std::size_t cases,
             const ChangesOfLayer& changes, std::int64_t samples, std::uint64_t seed,
             Compute& compute, Feedback& feedback)
      : original_(original), logits_(logits), text_(text), changes_(changes), seed_(seed),
        compute_(compute), feedback_(feedback), model_(original.model()), spec_(*model_.spec),
        schedule_(schedule_of(text, samples)), products_(&compute),
        dots_(cases, std::vector<double>(std::size_t(schedule_.samples()))) {}

  Result<std::vector<PredictedFigure>> run() {
    TRY_ASSIGN(ends_, changes_(-1));
    TRY_ASSIGN(const std::vector<WeightUse> uses, uses_of(ends_));
    TRY(head());
    for (int layer = int(spec_.layers) - 1; layer >= 0; --layer)
      TRY(block(layer));
    embedding();
    return figures();
  }

 private:
  std::size_t sample(std::size_t window, std::int64_t draw) const {
    return window * std::size_t(schedule_.draws) + std::size_t(draw);
  }
  /// Holds both sides of changes for as long as they are read.
  Result<std::vector<WeightUse>> uses_of(const std::vector<WeightChange>& changes) const {
    std::vector<WeightUse> out;
    for (const WeightChange& change : changes)
      for (const Module* module : {&model_.modules[change.module], change.other.get()}) {
        TRY_ASSIGN(WeightUse use, module->weight.use());
        out.push_back(std::move(use));
      }
    return out;
  }
  const Module* find(const char* part) const { return model_.find_part(-1, part); }

  /// slope[per_window][vocab] of a random direction of the logits.
  void direction(std::span<const float> logits, std::span<const double> norms, std::size_t number,
                 std::vector<float>& slope) const {
    const auto vocab = std::size_t(spec_.vocab);
    slope.resize(logits.size());
    parallel_for(text_.per_window(), 4, [&](std::int64_t begin, std::int64_t end) {
      for (auto t = std::size_t(begin); t < std::size_t(end); ++t) {
        const auto row = logits.subspan(t * vocab, vocab);
        const auto out = std::span<float>(slope).subspan(t * vocab, vocab);
        std::uint64_t bits = 0;
        double along = 0; // sum of sqrt(p) * sign
        for (std::size_t i = 0; i < vocab; ++i) {
          if (i % 64 == 0)
            bits = mix(mix(mix(seed_ + number) + t) + i);
          const double root = std::exp(0.5 * (double(row[i]) - norms[t]));
          const double signed_root = (bits >> (i % 64) & 1u) ? root : -root;
          along += signed_root * root;
          out[i] = float(signed_root);
        }
        for (std::size_t i = 0; i < vocab; ++i) { // covariance diag(p) - p p^T
          const double root = std::fabs(double(out[i]));
          double d = double(out[i]) - root * root * along;
          if (spec_.final_softcap > 0) {
            const double share = double(row[i]) / double(spec_.final_softcap);
            d *= 1 - share * share;
          }
          out[i] = float(d);
        }
      }
    });
  }

  static double dot(const float* a, const float* b, std::int64_t n) {
    double sum = 0;
    for (std::int64_t i = 0; i < n; ++i)
      sum += double(a[i]) * double(b[i]);
    return sum;
  }

  /// <gradient, W' - W> over the rows [first, first + count), of which the gradient is given.
  double along(const float* gradient, const QTensor& from, const QTensor& to, std::int64_t first,
               std::int64_t count) const {
    const MatrixView a = from.view(), b = to.view();
    std::vector<double> rows(static_cast<std::size_t>(count));
    parallel_for(count, std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(1, a.cols)),
                 [&](std::int64_t begin, std::int64_t end) {
                   std::vector<float> x(static_cast<std::size_t>(a.cols)), y(x);
                   for (std::int64_t r = begin; r < end; ++r) {
                     a.layout->decode(a, first + r, 0, a.cols, x.data());
                     b.layout->decode(b, first + r, 0, b.cols, y.data());
                     for (std::size_t c = 0; c < x.size(); ++c)
                       y[c] -= x[c];
                     rows[std::size_t(r)] = dot(gradient + r * a.cols, y.data(), a.cols);
                   }
                 });
    double sum = 0;
    for (const double row : rows)
      sum += row;
    return sum;
  }

  Result<void> head() {
    feedback_.set_step("second-order statistics: head");
    const Module* norm = find("final_norm");
    const Module* module = find("head");
    if (!module || module->weight.rows <= 0)
      module = find("embedding"); // tied
    if (!norm || !module)
      return Error{"bad-file", "The checkpoint has no final norm or no head", model_.path.string()};
    TRY_ASSIGN(const WeightUse use, module->weight.use());
    const ByRows head(module->weight);
    std::vector<float> weight = decoded(norm->weight), bias;
    if (spec_.norm_plus_one)
      for (float& w : weight)
        w += 1.0f;
    if (norm->bias.rows > 0)
      bias = decoded(norm->bias);
    const std::int64_t n = text_.per_window(), hidden = spec_.hidden, vocab = spec_.vocab;
    slopes_.assign(std::size_t(schedule_.samples()), {});
    std::vector<float> x, h(std::size_t(n * hidden)), slope, part, dh, dx, values, gradient;
    std::vector<float> dweight(weight.size()), dbias(bias.size());
    const std::int64_t step = std::max<std::int64_t>(1, (std::int64_t(16) << 20) / hidden);
    for (std::size_t w = 0; w < schedule_.windows.size(); ++w) {
      TRY(original_.stream_before(spec_.layers, schedule_.windows[w], x, feedback_));
      if (spec_.norm == "layer")
        layer_norm(x.data(), weight.data(), bias.empty() ? nullptr : bias.data(), n, hidden,
                   spec_.norm_eps, h.data());
      else
        rms_norm(x.data(), weight.data(), n, hidden, spec_.norm_eps, h.data());
      for (std::int64_t draw = 0; draw < schedule_.draws; ++draw) {
        if (feedback_.stopped())
          return cancelled_error();
        const std::size_t s = sample(w, draw);
        TRY_ASSIGN(const auto logits, logits_.logits(schedule_.windows[w], feedback_));
        direction(logits, logits_.norms(schedule_.windows[w]), s, slope);
        dh.assign(h.size(), 0.0f);
        for (std::int64_t first = 0; first < vocab; first += step) {
          const std::int64_t rows = std::min(step, vocab - first);
          part.resize(std::size_t(n * rows));
          for (std::int64_t t = 0; t < n; ++t)
            std::copy_n(slope.data() + t * vocab + first, rows, part.data() + t * rows);
          values.resize(std::size_t(rows * hidden));
          TRY(compute_.decode(head->view(), first, rows, values, &feedback_));
          TRY(products_.to_input(part.data(), n, values.data(), rows, hidden, dh.data(), true,
                                 &feedback_));
          bool wanted = false;
          for (const WeightChange& change : ends_)
            wanted = wanted || model_.modules[change.module].part == "head" ||
                     &model_.modules[change.module] == module;
          if (!wanted)
            continue;
          gradient.assign(values.size(), 0.0f);
          TRY(products_.to_weight(part.data(), h.data(), n, rows, hidden, gradient.data(),
                                  &feedback_));
          for (const WeightChange& change : ends_)
            if (model_.modules[change.module].part == "head" ||
                &model_.modules[change.module] == module) {
              const ByRows to(change.other->weight);
              dots_[change.entry][s] += along(gradient.data(), *head, *to, first, rows);
            }
        }
        dx.resize(dh.size());
        std::fill(dweight.begin(), dweight.end(), 0.0f);
        std::fill(dbias.begin(), dbias.end(), 0.0f);
        if (spec_.norm == "layer")
          layer_norm_backward(x.data(), weight.data(), dh.data(), n, hidden, spec_.norm_eps,
                              dx.data(), dweight.data(), bias.empty() ? nullptr : dbias.data());
        else
          rms_norm_backward(x.data(), weight.data(), dh.data(), n, hidden, spec_.norm_eps,
                            dx.data(), dweight.data());
        for (const WeightChange& change : ends_)
          if (model_.modules[change.module].part == "final_norm") {
            dots_[change.entry][s] +=
                along(dweight.data(), norm->weight, change.other->weight, 0, 1);
            if (!bias.empty() && change.other->bias.rows > 0)
              dots_[change.entry][s] += along(dbias.data(), norm->bias, change.other->bias, 0, 1);
          }
        std::vector<float>& out = slopes_[s];
        out.assign(std::size_t(text_.tokens * hidden), 0.0f);
        std::copy(dx.begin(), dx.end(), out.end() - std::ptrdiff_t(dx.size()));
        feedback_.advance(1);
      }
    }
    return {};
  }

  Result<void> block(int layer) {
    feedback_.set_step("second-order statistics: block " + std::to_string(layer + 1));
    TRY_ASSIGN(const std::vector<WeightChange> changes, changes_(layer));
    TRY_ASSIGN(const std::vector<WeightUse> uses, uses_of(changes));
    TRY_ASSIGN(BlockParameters parameters, read_block(model_, layer));
    BlockParameters gradients;
    for (const WeightChange& change : changes) {
      const auto it = parameters.find(model_.modules[change.module].part);
      if (it != parameters.end())
        gradients.emplace(it->first, zeros_like(it->second));
    }
    TRY_ASSIGN(DecoderBlock decoder,
               DecoderBlock::create(spec_, layer, std::move(parameters), &compute_));
    const std::vector<std::int64_t> lengths{text_.tokens};
    BlockTape tape;
    std::vector<float> x, dx;
    for (std::size_t w = 0; w < schedule_.windows.size(); ++w) {
      TRY(original_.stream_before(layer, schedule_.windows[w], x, feedback_));
      TRY(decoder.forward(x, lengths, tape, &feedback_));
      for (std::int64_t draw = 0; draw < schedule_.draws; ++draw) {
        const std::size_t s = sample(w, draw);
        for (auto& [part, gradient] : gradients) {
          std::fill(gradient.weight.begin(), gradient.weight.end(), 0.0f);
          std::fill(gradient.bias.begin(), gradient.bias.end(), 0.0f);
        }
        TRY(decoder.backward(tape, slopes_[s], gradients, &dx, &feedback_));
        slopes_[s].swap(dx);
        for (const WeightChange& change : changes) {
          const Module& from = model_.modules[change.module];
          const auto it = gradients.find(from.part);
          if (it == gradients.end())
            continue;
          const ByRows a(from.weight), b(change.other->weight);
          dots_[change.entry][s] += along(it->second.weight.data(), *a, *b, 0, from.weight.rows);
          if (!it->second.bias.empty() && change.other->bias.rows > 0)
            dots_[change.entry][s] +=
                along(it->second.bias.data(), from.bias, change.other->bias, 0, 1);
        }
        feedback_.advance(2);
      }
    }
    return {};
  }

  /// The slopes are now those of what the embedding gave.
  void embedding() {
    std::vector<float> a(std::size_t(spec_.hidden)), b(a);
    for (const WeightChange& change : ends_) {
      const Module& from = model_.modules[change.module];
      const bool positions = from.part == "positions";
      if (from.part != "embedding" && !positions)
        continue;
      const ByRows from_rows(from.weight), to_rows(change.other->weight);
      const MatrixView x = from_rows->view(), y = to_rows->view();
      const double scale = positions ? 1.0 : double(spec_.embedding_scale);
      for (std::size_t w = 0; w < schedule_.windows.size(); ++w)
        for (std::int64_t draw = 0; draw < schedule_.draws; ++draw) {
          const std::size_t s = sample(w, draw);
          for (std::int64_t t = 0; t < text_.tokens; ++t) {
            const std::int64_t row =
                positions ? t : text_.windows[std::size_t(schedule_.windows[w])][std::size_t(t)];
            x.layout->decode(x, row, 0, spec_.hidden, a.data());
            y.layout->decode(y, row, 0, spec_.hidden, b.data());
            const float* slope = slopes_[s].data() + t * spec_.hidden;
            double sum = 0;
            for (std::size_t i = 0; i < a.size(); ++i)
              sum += double(slope[i]) * (double(b[i]) - double(a[i]));
            dots_[change.entry][s] += scale * sum;
          }
        }
    }
  }

  Result<std::vector<PredictedFigure>> figures() const {
    std::vector<PredictedFigure> out;
    for (const std::vector<double>& values : dots_) {
      RunningMean mean;
      for (const double value : values)
        mean.add(value * value / (2.0 * double(text_.per_window())));
      PredictedFigure figure;
      figure.kld = figure.raw = mean.mean();
      figure.kld_stderr = mean.standard_error();
      figure.samples = mean.count;
      if (!std::isfinite(figure.kld))
        figure = {};
      out.push_back(figure);
    }
    return out;
  }

  static std::vector<float> decoded(const QTensor& tensor) {
    std::vector<float> out(std::size_t(tensor.rows * tensor.cols));
    const MatrixView view = tensor.view();
    for (std::int64_t row = 0; row < view.rows; ++row)
      view.layout->decode(view, row, 0, view.cols, out.data() + row * view.cols);
    return out;
  }

  SwapBase& original_;
  OriginalLogits& logits_;
  const ScoredText& text_;
  const ChangesOfLayer& changes_;
  const std::uint64_t seed_;
  Compute& compute_;
  Feedback& feedback_;
  const Checkpoint& model_;
  const ModelSpec& spec_;
  const Schedule schedule_;
  LinearProducts products_;
  std::vector<std::vector<double>> dots_;  ///< [case][sample]
  std::vector<std::vector<float>> slopes_; ///< [sample]: of the residual stream, [tokens][hidden]
  std::vector<WeightChange> ends_;
};

} // namespace

std::uint64_t fisher_work(const ScoredText& text, std::int64_t layers, std::int64_t samples) {
  return std::uint64_t(schedule_of(text, samples).samples()) * std::uint64_t(2 * layers + 1);
}

Result<std::vector<PredictedFigure>> fisher_divergence(SwapBase& original, OriginalLogits& logits,
                                                       const ScoredText& text, std::size_t cases,
                                                       const ChangesOfLayer& changes,
                                                       std::int64_t samples, std::uint64_t seed,
                                                       Compute& compute, Feedback& feedback) {
  return FisherPass(original, logits, text, cases, changes, samples, seed, compute, feedback).run();
}

} // namespace bitlathe
