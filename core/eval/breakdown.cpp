// SPDX-License-Identifier: Apache-2.0
#include "core/eval/breakdown.h"

#include "core/text/tokenizer.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace bitlathe {

namespace {

constexpr std::array<std::string_view, 6> class_order{"word start",  "inside a word", "number",
                                                      "punctuation", "white space",   "special"};

bool larger(const WorstToken& a, const WorstToken& b) {
  return a.kld != b.kld ? a.kld > b.kld
                        : std::pair(a.window, a.position) < std::pair(b.window, b.position);
}

} // namespace

std::string_view token_class(const Tokenizer& tokenizer, std::int32_t id) {
  const auto kind = tokenizer.token_kind(id);
  if (kind != TokenKind::normal && kind != TokenKind::user_defined)
    return "special";
  const std::string text = tokenizer.piece(id);
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos)
    return text.empty() ? "special" : "white space";
  const auto c = std::uint8_t(text[first]);
  if (c >= '0' && c <= '9')
    return "number";
  if (c < 0x80 && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z'))
    return "punctuation";
  return first > 0 ? "word start" : "inside a word";
}

Breakdown::Breakdown(const Tokenizer* tokenizer, std::int64_t context)
    : tokenizer_(tokenizer), first_(context / 2 + 1), count_(context - first_), positions_(parts) {}

void Breakdown::add(std::int64_t window, std::int64_t position, std::int32_t token,
                    const Score& score) {
  const auto note = [&](Part& part) {
    part.kld.add(score.kld);
    part.difference.add(score.nll - score.reference_nll);
  };
  const std::int64_t part =
      (position - first_) * std::int64_t(parts) / std::max<std::int64_t>(1, count_);
  note(positions_[std::size_t(std::clamp<std::int64_t>(part, 0, parts - 1))]);
  if (tokenizer_)
    note(classes_[token_class(*tokenizer_, token)]);

  const WorstToken here{window,
                        position,
                        token,
                        score.reference_top,
                        score.candidate_top,
                        score.kld,
                        std::exp(-score.reference_nll),
                        std::exp(-score.nll)};
  if (worst_.size() == most_worst && !larger(here, worst_.front()))
    return;
  worst_.push_back(here);
  std::push_heap(worst_.begin(), worst_.end(), larger);
  if (worst_.size() > most_worst) {
    std::pop_heap(worst_.begin(), worst_.end(), larger);
    worst_.pop_back();
  }
}

PartFigures Breakdown::figures(std::string name, const Part& part) {
  return {std::move(name), part.kld.count, part.kld.mean(), part.kld.standard_error(),
          part.difference.mean()};
}

std::vector<PartFigures> Breakdown::by_position() const {
  std::vector<PartFigures> out;
  const auto begin_of = [&](std::size_t part) {
    // The first position p with (p - first) * parts / count >= part.
    return first_ + (std::int64_t(part) * count_ + std::int64_t(parts) - 1) / std::int64_t(parts);
  };
  for (std::size_t i = 0; i < parts; ++i)
    if (positions_[i].kld.count > 0)
      out.push_back(figures(std::to_string(begin_of(i)) + "-" + std::to_string(begin_of(i + 1) - 1),
                            positions_[i]));
  return out;
}

std::vector<PartFigures> Breakdown::by_class() const {
  std::vector<PartFigures> out;
  for (const auto name : class_order)
    if (const auto found = classes_.find(name); found != classes_.end())
      out.push_back(figures(std::string(name), found->second));
  return out;
}

std::vector<WorstToken> Breakdown::worst() const {
  std::vector<WorstToken> out = worst_;
  std::sort(out.begin(), out.end(), larger);
  return out;
}

} // namespace bitlathe
