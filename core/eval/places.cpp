// SPDX-License-Identifier: Apache-2.0
#include "core/eval/places.h"

#include "core/eval/windows.h"
#include "core/text/tokenizer.h"

#include <algorithm>
#include <numeric>

namespace bitlathe {

namespace {

Result<void> check(const EvalText& text, const Place& place) {
  const auto tokens = std::int64_t(text.ids.size());
  if (text.context < 1 || place.window < 0 || place.position < 0 ||
      place.position >= text.context || place.window >= tokens / text.context)
    return Error{"mismatch", "The text ends before this place", {}};
  return {};
}

} // namespace

Result<PlaceText> text_around(const Tokenizer& tokenizer, const EvalText& text, const Place& place,
                              std::int64_t before, std::int64_t after) {
  TRY(check(text, place));
  const std::int64_t begin = place.window * text.context, at = begin + place.position;
  const std::int64_t from = std::max(begin, at - std::max<std::int64_t>(0, before));
  const std::int64_t end =
      std::min(at + 1 + std::max<std::int64_t>(0, after), std::int64_t(text.ids.size()));
  const auto part = [&](std::int64_t a, std::int64_t b) {
    return tokenizer.decode(std::span(text.ids).subspan(std::size_t(a), std::size_t(b - a)), false);
  };
  return PlaceText{part(from, at), tokenizer.piece(text.ids[std::size_t(at)]), part(at + 1, end)};
}

bool stands_at(const EvalText& text, const WorstToken& token) {
  return check(text, {token.window, token.position}).ok() &&
         text.ids[std::size_t(token.window * text.context + token.position)] == token.token;
}

Result<std::vector<TopToken>> expected_at(Engine& engine, const EvalText& text, const Place& place,
                                          int count, const Feedback& feedback) {
  TRY(check(text, place));
  if (place.position == 0)
    return Error{"bad-argument", "Nothing stands before the first token of a window", {}};
  TRY_ASSIGN(const Windows windows, Windows::cut(engine.checkpoint(), text));
  if (place.window >= windows.count())
    return Error{"mismatch", "The text ends before this place", {}};
  TRY(windows.check_ids(engine.spec().vocab));
  const auto ids = windows.ids(place.window);
  TRY_ASSIGN(const auto sequence, engine.new_sequence(place.position));
  std::vector<double> logs(std::size_t(engine.spec().vocab));
  const auto keep = [&](std::int64_t, std::span<const float> logits) -> Result<void> {
    log_softmax(logits, logs);
    return {};
  };
  TRY(engine.forward(*sequence, std::span(ids).first(std::size_t(place.position)),
                     place.position - 1, keep, &feedback));
  std::vector<std::int32_t> order(logs.size());
  std::iota(order.begin(), order.end(), 0);
  const auto n = std::min(std::size_t(std::max(0, count)), order.size());
  std::partial_sort(order.begin(), order.begin() + std::ptrdiff_t(n), order.end(),
                    [&](std::int32_t a, std::int32_t b) {
                      const double x = logs[std::size_t(a)], y = logs[std::size_t(b)];
                      return x != y ? x > y : a < b;
                    });
  std::vector<TopToken> out;
  for (std::size_t i = 0; i < n; ++i)
    out.push_back({order[i], logs[std::size_t(order[i])]});
  return out;
}

} // namespace bitlathe
