// SPDX-License-Identifier: Apache-2.0
#include "core/eval/attribute_score.h"

#include "core/eval/divergence.h"
#include "kernels/base/parallel.h"

#include <cmath>

namespace bitlathe {

AttributionFigures TokenScores::figures() const {
  RunningMean divergence, difference;
  for (const double value : kld)
    divergence.add(value);
  for (const double value : nll_difference)
    difference.add(value);
  return {divergence.mean(), divergence.standard_error(), difference.mean(),
          difference.standard_error(), divergence.count};
}

Result<OriginalLogits> OriginalLogits::create(SwapBase& original, const ScoredText& text,
                                              std::int64_t rows, std::uint64_t memory,
                                              const Feedback& feedback) {
  OriginalLogits out(original, text, rows);
  const auto vocab = std::size_t(original.model().spec->vocab);
  const auto per_window = std::size_t(text.per_window());
  const std::uint64_t one = per_window * vocab * sizeof(float);
  out.kept_windows_ =
      std::int64_t(std::min<std::uint64_t>(std::uint64_t(text.count()), memory / one));
  out.kept_.resize(std::size_t(out.kept_windows_) * per_window * vocab);
  const std::size_t positions = per_window * std::size_t(text.count());
  out.norms_.resize(positions);
  out.shared_norms_.resize(positions);
  out.nll_.resize(positions);
  RunningMean nll;
  for (std::int64_t w = 0; w < text.count(); ++w) {
    TRY(original.logits({}, w, out.again_, feedback));
    const std::span<const float> logits(out.again_);
    const std::size_t first = std::size_t(w) * per_window;
    parallel_for(text.per_window(), 4, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = std::size_t(begin); i < std::size_t(end); ++i) {
        const auto row = logits.subspan(i * vocab, vocab);
        out.norms_[first + i] = log_sum_exp(row);
        out.shared_norms_[first + i] = std::size_t(rows) == vocab
                                           ? out.norms_[first + i]
                                           : log_sum_exp(row.first(std::size_t(rows)));
        out.nll_[first + i] =
            out.norms_[first + i] - double(row[std::size_t(text.target(w, std::int64_t(i)))]);
      }
    });
    for (std::size_t i = 0; i < per_window; ++i) {
      if (!std::isfinite(out.nll_[first + i]))
        return Error{"bad-file",
                     "The model produced NaN or infinite logits in window " +
                         std::to_string(w + 1) + " at position " +
                         std::to_string(text.wanted + std::int64_t(i)) +
                         "; its weights may be damaged",
                     original.model().path.string()};
      nll.add(out.nll_[first + i]);
    }
    if (w < out.kept_windows_)
      std::copy(logits.begin(), logits.end(),
                out.kept_.begin() + std::ptrdiff_t(std::size_t(w) * per_window * vocab));
  }
  out.perplexity_ = std::exp(nll.mean());
  return out;
}

Result<std::span<const float>> OriginalLogits::logits(std::int64_t window,
                                                      const Feedback& feedback) {
  const auto size = std::size_t(text_->per_window() * original_->model().spec->vocab);
  if (window < kept_windows_)
    return std::span<const float>(kept_).subspan(std::size_t(window) * size, size);
  if (again_window_ != window) {
    again_window_ = -1;
    TRY(original_->logits({}, window, again_, feedback));
    again_window_ = window;
  }
  return std::span<const float>(again_);
}

std::span<const double> OriginalLogits::norms(std::int64_t window) const {
  const auto per_window = std::size_t(text_->per_window());
  return std::span<const double>(norms_).subspan(std::size_t(window) * per_window, per_window);
}

Result<void> OriginalLogits::score(std::int64_t window, std::span<const float> other,
                                   std::int64_t other_vocab, TokenScores& out,
                                   const Feedback& feedback) {
  TRY_ASSIGN(const std::span<const float> own, logits(window, feedback));
  const auto vocab = std::size_t(original_->model().spec->vocab), stride = std::size_t(other_vocab);
  const auto per_window = std::size_t(text_->per_window()), rows = std::size_t(rows_);
  const std::size_t first = std::size_t(window) * per_window, at = out.kld.size();
  out.kld.resize(at + per_window);
  out.nll_difference.resize(at + per_window);
  parallel_for(text_->per_window(), 4, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = std::size_t(begin); i < std::size_t(end); ++i) {
      const auto p = own.subspan(i * vocab, vocab), q = other.subspan(i * stride, stride);
      const double norm = log_sum_exp(q);
      const double shared = rows == stride ? norm : log_sum_exp(q.first(rows));
      out.kld[at + i] =
          kl_divergence(p.first(rows), shared_norms_[first + i], q.first(rows), shared);
      out.nll_difference[at + i] =
          norm - double(q[std::size_t(text_->target(window, std::int64_t(i)))]) - nll_[first + i];
    }
  });
  for (std::size_t i = 0; i < per_window; ++i)
    if (!std::isfinite(out.nll_difference[at + i]) || std::isnan(out.kld[at + i]))
      return Error{"bad-file",
                   "NaN or infinite logits in window " + std::to_string(window + 1) +
                       " at position " + std::to_string(text_->wanted + std::int64_t(i)),
                   {}};
  return {};
}

} // namespace bitlathe
