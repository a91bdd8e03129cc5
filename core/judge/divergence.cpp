// SPDX-License-Identifier: Apache-2.0
#include "core/judge/divergence.h"

#include <algorithm>
#include <unordered_map>

namespace bitlathe {

namespace {

constexpr std::size_t lcs_limit = 2048;

/// Small numbers instead of strings: comparing them is what the quadratic loop does.
std::vector<int> intern(const Pieces& pieces, std::size_t begin, std::size_t end,
                        std::unordered_map<std::string, int>& numbers) {
  std::vector<int> out;
  out.reserve(end - begin);
  for (std::size_t i = begin; i < end; ++i)
    out.push_back(numbers.emplace(pieces[i], int(numbers.size())).first->second);
  return out;
}

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }
/// Of a word: letters, figures and everything that is no ASCII.
bool is_word(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         (static_cast<unsigned char>(c) & 0x80) != 0;
}

} // namespace

std::int64_t first_divergence(const Pieces& reference, bool reference_done, const Pieces& candidate,
                              bool candidate_done) {
  const std::size_t common = std::min(reference.size(), candidate.size());
  for (std::size_t i = 0; i < common; ++i)
    if (reference[i] != candidate[i])
      return std::int64_t(i);
  if (reference.size() == candidate.size())
    return -1;
  const bool shorter_done = reference.size() < candidate.size() ? reference_done : candidate_done;
  return shorter_done ? std::int64_t(common) : -1;
}

Agreement agreement(const Pieces& reference, const Pieces& candidate) {
  Agreement out;
  const std::size_t n = reference.size(), m = candidate.size();
  out.reference.assign(n, false);
  out.candidate.assign(m, false);
  if (std::max(n, m) == 0)
    return out;

  std::size_t common = 0;
  const auto mark = [&](std::size_t i, std::size_t j) {
    out.reference[i] = out.candidate[j] = true;
    ++common;
  };
  std::size_t prefix = 0, suffix = 0;
  for (; prefix < std::min(n, m) && reference[prefix] == candidate[prefix]; ++prefix)
    mark(prefix, prefix);
  for (; suffix < std::min(n, m) - prefix && reference[n - 1 - suffix] == candidate[m - 1 - suffix];
       ++suffix)
    mark(n - 1 - suffix, m - 1 - suffix);

  const std::size_t a = n - prefix - suffix, b = m - prefix - suffix;
  if (a <= lcs_limit && b <= lcs_limit) {
    std::unordered_map<std::string, int> numbers;
    const auto left = intern(reference, prefix, prefix + a, numbers);
    const auto right = intern(candidate, prefix, prefix + b, numbers);
    // length[i][j]: of the longest common subsequence of left[i..] and right[j..].
    const std::size_t width = b + 1;
    std::vector<std::uint16_t> length((a + 1) * width, 0);
    for (std::size_t i = a; i-- > 0;)
      for (std::size_t j = b; j-- > 0;)
        length[i * width + j] =
            left[i] == right[j] ? std::uint16_t(length[(i + 1) * width + j + 1] + 1)
                                : std::max(length[(i + 1) * width + j], length[i * width + j + 1]);
    for (std::size_t i = 0, j = 0; i < a && j < b;) {
      if (left[i] == right[j]) {
        mark(prefix + i, prefix + j);
        ++i, ++j;
      } else if (length[(i + 1) * width + j] >= length[i * width + j + 1]) {
        ++i;
      } else {
        ++j;
      }
    }
  } else {
    for (std::size_t i = prefix; i < std::min(n, m) - suffix; ++i)
      if (reference[i] == candidate[i])
        mark(i, i);
  }
  out.share = double(common) / double(std::max(n, m));
  return out;
}

/// After Hyyrö: bit i of the row is 0 where the common subsequence grows with the i-th piece; 64 of
/// them take one addition.
std::size_t common_pieces(const Pieces& reference, const Pieces& candidate) {
  const std::size_t words = (reference.size() + 63) / 64;
  std::unordered_map<std::string_view, std::vector<std::uint64_t>> places;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    auto& bits = places[reference[i]];
    bits.resize(words);
    bits[i / 64] |= std::uint64_t(1) << (i % 64);
  }
  std::vector<std::uint64_t> row(words, ~std::uint64_t(0));
  for (const std::string& piece : candidate) {
    const auto found = places.find(piece);
    if (found == places.end())
      continue;
    std::uint64_t carry = 0;
    for (std::size_t w = 0; w < words; ++w) {
      const std::uint64_t here = row[w] & found->second[w];
      const std::uint64_t half = row[w] + here, sum = half + carry;
      carry = std::uint64_t(half < here || sum < half);
      row[w] = sum | (row[w] & ~here);
    }
  }
  std::size_t out = 0;
  for (std::size_t i = 0; i < reference.size(); ++i)
    out += ((row[i / 64] >> (i % 64)) & 1) == 0;
  return out;
}

std::vector<DiffRun> difference(const Pieces& reference, const Pieces& candidate) {
  const Agreement shared = agreement(reference, candidate);
  std::vector<DiffRun> out;
  std::size_t i = 0, j = 0;
  const auto run = [&](DiffRun::Kind kind, std::size_t to_i, std::size_t to_j) {
    if (to_i != i || to_j != j)
      out.push_back({kind, i, to_i, j, to_j});
    i = to_i, j = to_j;
  };
  while (i < reference.size() || j < candidate.size()) {
    std::size_t to = i;
    while (to < reference.size() && !shared.reference[to])
      ++to;
    run(DiffRun::Kind::removed, to, j);
    to = j;
    while (to < candidate.size() && !shared.candidate[to])
      ++to;
    run(DiffRun::Kind::inserted, i, to);
    std::size_t same = 0; // common pieces stand in pairs, in the same order on both sides
    while (i + same < reference.size() && j + same < candidate.size() &&
           shared.reference[i + same] && shared.candidate[j + same])
      ++same;
    run(DiffRun::Kind::same, i + same, j + same);
  }
  return out;
}

Pieces words_of(std::string_view text) {
  Pieces out;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at;
    while (end < text.size() && is_space(text[end]))
      ++end;
    if (end < text.size()) {
      const bool word = is_word(text[end]);
      ++end;
      while (word && end < text.size() && is_word(text[end]))
        ++end;
    }
    out.emplace_back(text.substr(at, end - at));
    at = end;
  }
  return out;
}

} // namespace bitlathe
