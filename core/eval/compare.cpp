// SPDX-License-Identifier: Apache-2.0
// KL divergence of candidates from a reference, streamed window by window.
#include "core/eval/breakdown.h"
#include "core/eval/divergence.h"
#include "kernels/base/parallel.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace bitlathe {

namespace {

/// Linear interpolation between order statistics.
double quantile(std::vector<double> values, double q) {
  if (values.empty())
    return 0;
  const double at = q * double(values.size() - 1);
  const auto low = std::size_t(at);
  std::nth_element(values.begin(), values.begin() + std::ptrdiff_t(low), values.end());
  const double a = values[low];
  if (low + 1 >= values.size())
    return a;
  const double b = *std::min_element(values.begin() + std::ptrdiff_t(low) + 1, values.end());
  return a + (b - a) * (at - double(low));
}

/// The five likeliest tokens, the first of equal ones first.
std::array<std::int32_t, 5> top5(std::span<const float> logits) {
  std::array<std::int32_t, 5> out{};
  std::size_t held = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (held == out.size() && !(logits[i] > logits[std::size_t(out.back())]))
      continue;
    std::size_t at = held < out.size() ? held++ : out.size() - 1;
    for (; at > 0 && logits[i] > logits[std::size_t(out[at - 1])]; --at)
      out[at] = out[at - 1];
    out[at] = std::int32_t(i);
  }
  for (std::size_t i = held; i < out.size(); ++i)
    out[i] = -std::int32_t(i) - 1; // fewer than five tokens
  return out;
}

int shared_of(const std::array<std::int32_t, 5>& a, const std::array<std::int32_t, 5>& b) {
  return int(std::count_if(a.begin(), a.end(), [&](std::int32_t id) {
    return std::find(b.begin(), b.end(), id) != b.end();
  }));
}

/// What accumulates for one candidate (or for the rounded reference).
struct Pair {
  Engine* engine = nullptr;
  std::unique_ptr<Sequence> sequence;
  std::int64_t rows = 0; ///< leading logits compared
  RunningMean nll, kld, reverse_kld, difference, drift, window_nll, window_kld;
  std::vector<double> all_kld;
  std::int64_t same_top = 0, shared_top5 = 0;
  Breakdown breakdown;
  double seconds = 0;
};

class Comparison {
 public:
  Comparison(Engine& reference, const EvalText& text, Feedback& feedback)
      : reference_(reference), text_(text), feedback_(feedback),
        vocab_(std::size_t(reference.spec().vocab)) {
    out_.notes = context_notes(reference, text.context);
  }

  Result<void> add_candidate(Engine& engine) {
    CompareResult model;
    model.path = engine.checkpoint().path.string();
    model.bytes = engine.checkpoint().bytes();
    TRY_ASSIGN(const std::int64_t rows,
               shared_vocabulary(reference_.checkpoint(), engine.checkpoint(), model.notes));
    for (auto& note : context_notes(engine, text_.context))
      model.notes.push_back(std::move(note));
    out_.models.push_back(std::move(model));
    return add_pair(engine, rows);
  }

  Result<void> add_rounded(Engine* rounded) {
    if (!rounded) {
      out_.notes.push_back("The noise floor was not measured");
      return {};
    }
    with_floor_ = true;
    return add_pair(*rounded, reference_.spec().vocab);
  }

  Result<CompareReport> run(const std::function<void(const CompareReport&)>& on_window) {
    TRY_ASSIGN(const Windows windows, Windows::cut(reference_.checkpoint(), text_));
    TRY(windows.check_ids(reference_.spec().vocab));
    for (const Pair& pair : pairs_)
      TRY(windows.check_ids(pair.engine->spec().vocab));
    TRY_ASSIGN(sequence_, reference_.new_sequence(text_.context));
    feedback_.total = std::uint64_t(windows.count());
    feedback_.done = 0;
    for (std::int64_t w = 0; w < windows.count(); ++w) {
      const auto ids = windows.ids(w);
      sequence_->clear();
      window_nll_ = {};
      for (Pair& pair : pairs_) {
        pair.sequence->clear();
        pair.window_nll = pair.window_kld = {};
      }
      for (const Piece& piece : windows.pieces(reference_.spec().vocab)) {
        TRY(run_reference(ids, piece, w));
        for (Pair& pair : pairs_)
          TRY(run_pair(pair, ids, piece, w));
      }
      report(on_window || w + 1 == windows.count());
      feedback_.advance(1);
      if (on_window)
        on_window(out_);
    }
    return std::move(out_);
  }

 private:
  Result<void> add_pair(Engine& engine, std::int64_t rows) {
    Pair pair;
    pair.engine = &engine;
    pair.rows = rows;
    pair.breakdown = Breakdown(engine.checkpoint().tokenizer.get(), text_.context);
    TRY_ASSIGN(pair.sequence, engine.new_sequence(text_.context));
    pairs_.push_back(std::move(pair));
    return {};
  }

  std::span<const float> row(const std::vector<float>& logits, std::size_t i,
                             std::size_t stride) const {
    return std::span<const float>(logits).subspan(i * stride, stride);
  }

  Result<void> run_reference(std::span<const std::int32_t> ids, const Piece& piece,
                             std::int64_t window) {
    const double start = seconds_now();
    TRY(logits_of(reference_, *sequence_, ids, piece, logits_, feedback_));
    nll_.resize(std::size_t(piece.count));
    norm_.resize(nll_.size());
    parallel_for(piece.count, 4, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = std::size_t(begin); i < std::size_t(end); ++i) {
        const auto p = row(logits_, i, vocab_);
        norm_[i] = log_sum_exp(p);
        nll_[i] = norm_[i] - double(p[std::size_t(ids[std::size_t(piece.first) + i + 1])]);
      }
    });
    for (std::int64_t i = 0; i < piece.count; ++i) {
      const double nll = nll_[std::size_t(i)];
      if (!std::isfinite(nll))
        return bad_logits(reference_, window, piece.first + i);
      reference_nll_.add(nll);
      window_nll_.add(nll);
    }
    out_.reference_seconds += seconds_now() - start;
    return {};
  }

  Result<void> run_pair(Pair& pair, std::span<const std::int32_t> ids, const Piece& piece,
                        std::int64_t window) {
    const double start = seconds_now();
    TRY(logits_of(*pair.engine, *pair.sequence, ids, piece, other_, feedback_));
    const auto rows = std::size_t(pair.rows), stride = std::size_t(pair.engine->spec().vocab);
    scores_.resize(std::size_t(piece.count));
    parallel_for(piece.count, 4, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = std::size_t(begin); i < std::size_t(end); ++i) {
        const auto all_p = row(logits_, i, vocab_), all_q = row(other_, i, stride);
        const auto p = all_p.first(rows), q = all_q.first(rows);
        // Own perplexity is over the whole vocabulary, the comparison over the shared part.
        const double own_norm = log_sum_exp(all_q);
        const double p_norm = rows == vocab_ ? norm_[i] : log_sum_exp(p);
        const double q_norm = rows == stride ? own_norm : log_sum_exp(q);
        const std::int32_t target = ids[std::size_t(piece.first) + i + 1];
        const auto top_p = top5(p), top_q = top5(q);
        const auto [forward, reverse] = kl_divergences(p, p_norm, q, q_norm);
        scores_[i] = {.nll = own_norm - double(all_q[std::size_t(target)]),
                      .kld = forward,
                      .reverse_kld = reverse,
                      .reference_nll = nll_[i],
                      .shared_top5 = shared_of(top_p, top_q),
                      .reference_top = top_p[0],
                      .candidate_top = top_q[0]};
      }
    });
    for (std::int64_t i = 0; i < piece.count; ++i) {
      const Score& score = scores_[std::size_t(i)];
      if (!std::isfinite(score.nll) || std::isnan(score.kld))
        return bad_logits(*pair.engine, window, piece.first + i);
      pair.nll.add(score.nll);
      pair.kld.add(score.kld);
      pair.reverse_kld.add(score.reverse_kld);
      pair.difference.add(score.nll - score.reference_nll);
      pair.drift.add(std::exp(-score.nll) - std::exp(-score.reference_nll));
      pair.window_nll.add(score.nll);
      pair.window_kld.add(score.kld);
      pair.all_kld.push_back(score.kld);
      pair.same_top += score.reference_top == score.candidate_top;
      pair.shared_top5 += score.shared_top5;
      const std::int64_t position = piece.first + i + 1;
      pair.breakdown.add(window, position, ids[std::size_t(position)], score);
    }
    pair.seconds += seconds_now() - start;
    return {};
  }

  void report(bool with_quantiles) {
    out_.reference_perplexity = std::exp(reference_nll_.mean());
    out_.reference_stderr = out_.reference_perplexity * reference_nll_.standard_error();
    out_.reference_window_nll.push_back(window_nll_.mean());
    for (std::size_t k = 0; k < out_.models.size(); ++k) {
      const Pair& pair = pairs_[k];
      CompareResult& model = out_.models[k];
      model.perplexity = std::exp(pair.nll.mean());
      model.perplexity_stderr = model.perplexity * pair.nll.standard_error();
      model.reference_perplexity = out_.reference_perplexity;
      model.ppl_ratio = std::exp(pair.difference.mean());
      model.ppl_ratio_stderr = model.ppl_ratio * pair.difference.standard_error();
      model.kld_mean = pair.kld.mean();
      model.kld_stderr = pair.kld.standard_error();
      model.kld_reverse_mean = pair.reverse_kld.mean();
      model.kld_reverse_stderr = pair.reverse_kld.standard_error();
      model.tokens = pair.kld.count;
      model.top5_agreement = double(pair.shared_top5) / double(5 * pair.kld.count);
      model.drift_mean = pair.drift.mean();
      model.drift_rms = std::sqrt(pair.drift.sum2 / double(pair.drift.count));
      model.top1_agreement = double(pair.same_top) / double(pair.kld.count);
      model.seconds = pair.seconds;
      model.window_nll.push_back(pair.window_nll.mean());
      model.window_kld.push_back(pair.window_kld.mean());
      if (with_quantiles) {
        model.kld_median = quantile(pair.all_kld, 0.5);
        model.kld_p90 = quantile(pair.all_kld, 0.9);
        model.kld_p99 = quantile(pair.all_kld, 0.99);
        model.kld_max = *std::max_element(pair.all_kld.begin(), pair.all_kld.end());
        model.by_position = pair.breakdown.by_position();
        model.by_class = pair.breakdown.by_class();
        model.worst = pair.breakdown.worst();
      }
    }
    if (with_floor_)
      out_.noise_floor = pairs_.back().kld.mean();
  }

  Engine& reference_;
  const EvalText& text_;
  Feedback& feedback_;
  const std::size_t vocab_;
  CompareReport out_;
  std::unique_ptr<Sequence> sequence_;
  std::vector<Pair> pairs_; ///< candidates in order, then the rounded reference
  bool with_floor_ = false;
  RunningMean reference_nll_, window_nll_;
  std::vector<float> logits_, other_; ///< of the piece in hand
  std::vector<double> nll_, norm_;
  std::vector<Score> scores_;
};

} // namespace

Result<CompareReport> compare(Engine& reference, std::span<Engine* const> candidates,
                              Engine* reference_rounded, const EvalText& text, Feedback& feedback,
                              const std::function<void(const CompareReport&)>& on_window) {
  Comparison comparison(reference, text, feedback);
  for (Engine* candidate : candidates)
    TRY(comparison.add_candidate(*candidate));
  TRY(comparison.add_rounded(reference_rounded));
  return comparison.run(on_window);
}

} // namespace bitlathe
