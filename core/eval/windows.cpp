// SPDX-License-Identifier: Apache-2.0
#include "core/eval/windows.h"

#include "core/text/tokenizer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace bitlathe {

double RunningMean::standard_error() const {
  if (count < 2)
    return 0;
  const double variance = sum2 / double(count) - mean() * mean();
  return std::sqrt(std::max(0.0, variance) / double(count - 1));
}

Result<Windows> Windows::cut(const Checkpoint& checkpoint, const EvalText& text) {
  if (text.context < 4)
    return Error{"bad-argument", "The context must be at least 4 tokens", {}};
  if (text.chunks < 0)
    return Error{"bad-argument", "The number of chunks must not be negative", {}};
  const auto tokens = std::int64_t(text.ids.size());
  if (tokens / 2 < text.context)
    return Error{"bad-argument",
                 "The text has " + std::to_string(tokens) + " tokens; a context of " +
                     std::to_string(text.context) + " needs at least " +
                     std::to_string(2 * text.context),
                 {}};
  Windows out(text);
  out.count_ = tokens / text.context;
  if (text.chunks > 0)
    out.count_ = std::min(out.count_, text.chunks);
  if (checkpoint.tokenizer && checkpoint.tokenizer->adds_bos())
    out.bos_ = checkpoint.tokenizer->bos();
  return out;
}

Result<void> Windows::check_ids(std::int64_t vocab) const {
  for (const std::int32_t id : text_.ids)
    if (id < 0 || id >= vocab)
      return Error{"bad-argument",
                   "Token " + std::to_string(id) + " is outside the vocabulary of " +
                       std::to_string(vocab),
                   {}};
  return {};
}

std::vector<std::int32_t> Windows::ids(std::int64_t window) const {
  const auto begin = text_.ids.begin() + window * text_.context;
  std::vector<std::int32_t> out(begin, begin + text_.context);
  if (bos_ >= 0)
    out[0] = bos_;
  return out;
}

std::vector<Piece> Windows::pieces(std::int64_t vocab) const {
  constexpr std::int64_t budget = std::int64_t(256) << 20;
  const std::int64_t first = text_.context / 2, end = text_.context - 1;
  const std::int64_t step = std::max<std::int64_t>(1, budget / (vocab * 4));
  std::vector<Piece> out;
  for (std::int64_t at = first; at < end; at += step)
    out.push_back({at == first ? 0 : at, at, std::min(step, end - at)});
  return out;
}

Result<void> logits_of(Engine& engine, Sequence& sequence, std::span<const std::int32_t> ids,
                       const Piece& piece, std::vector<float>& out, const Feedback& feedback) {
  const auto vocab = engine.spec().vocab;
  const std::int64_t offset = piece.first - piece.begin;
  out.resize(std::size_t(piece.count * vocab));
  const auto keep = [&](std::int64_t index, std::span<const float> row) -> Result<void> {
    std::copy(row.begin(), row.end(), out.begin() + (index - offset) * vocab);
    return {};
  };
  return engine.forward(sequence,
                        ids.subspan(std::size_t(piece.begin), std::size_t(offset + piece.count)),
                        offset, keep, &feedback);
}

double log_sum_exp(std::span<const float> logits) {
  float top = -INFINITY;
  bool bad = false;
  for (const float x : logits) {
    bad |= !(x < INFINITY);
    top = x > top ? x : top;
  }
  if (bad || top == -INFINITY)
    return NAN;
  double sum = 0;
  for (const float x : logits)
    sum += std::exp(double(x) - double(top));
  return double(top) + std::log(sum);
}

std::vector<std::string> context_notes(const Engine& engine, std::int64_t context) {
  const std::int64_t trained = engine.spec().context;
  if (trained <= 0 || context <= trained)
    return {};
  return {"The context of " + std::to_string(context) + " is above the trained length of " +
          std::to_string(trained)};
}

Error bad_logits(const Engine& engine, std::int64_t window, std::int64_t position) {
  return {"bad-file",
          "The model produced NaN or infinite logits in window " + std::to_string(window + 1) +
              " at position " + std::to_string(position) + "; its weights may be damaged",
          engine.checkpoint().path.string()};
}

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

} // namespace bitlathe
