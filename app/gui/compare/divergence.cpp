// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/compare/divergence.h"

#include <algorithm>
#include <QHash>
#include <vector>

namespace bitlathe::gui {
namespace {

constexpr qsizetype lcs_limit = 1024;

/// Small numbers instead of byte strings: comparing them is what the quadratic loop does.
std::vector<int> intern(const QList<QByteArray>& tokens, QHash<QByteArray, int>& numbers) {
  std::vector<int> out;
  out.reserve(std::size_t(tokens.size()));
  for (const QByteArray& token : tokens)
    out.push_back(numbers.value(token, -1) >= 0 ? numbers.value(token)
                                                : *numbers.insert(token, int(numbers.size())));
  return out;
}

} // namespace

qsizetype firstDivergence(const QList<QByteArray>& reference, bool referenceDone,
                          const QList<QByteArray>& candidate, bool candidateDone) {
  const qsizetype common = std::min(reference.size(), candidate.size());
  for (qsizetype i = 0; i < common; ++i)
    if (reference[i] != candidate[i])
      return i;
  if (reference.size() == candidate.size())
    return -1;
  const bool shorterDone = reference.size() < candidate.size() ? referenceDone : candidateDone;
  return shorterDone ? common : -1;
}

Agreement agreement(const QList<QByteArray>& reference, const QList<QByteArray>& candidate) {
  Agreement out;
  out.reference.fill(false, reference.size());
  out.candidate.fill(false, candidate.size());
  const qsizetype n = reference.size(), m = candidate.size();
  if (std::max(n, m) == 0)
    return out;

  qsizetype prefix = 0, common = 0;
  while (prefix < std::min(n, m) && reference[prefix] == candidate[prefix])
    ++prefix;
  const auto mark = [&](qsizetype i, qsizetype j) {
    out.reference[i] = out.candidate[j] = true;
    ++common;
  };
  for (qsizetype i = 0; i < prefix; ++i)
    mark(i, i);

  const qsizetype a = n - prefix, b = m - prefix;
  if (a <= lcs_limit && b <= lcs_limit) {
    QHash<QByteArray, int> numbers;
    const auto left = intern(reference.mid(prefix), numbers);
    const auto right = intern(candidate.mid(prefix), numbers);
    // length[i][j]: of the longest common subsequence of left[i..] and right[j..].
    const std::size_t width = std::size_t(b) + 1;
    std::vector<quint16> length((std::size_t(a) + 1) * width, 0);
    for (std::size_t i = std::size_t(a); i-- > 0;)
      for (std::size_t j = std::size_t(b); j-- > 0;)
        length[i * width + j] =
            left[i] == right[j] ? quint16(length[(i + 1) * width + j + 1] + 1)
                                : std::max(length[(i + 1) * width + j], length[i * width + j + 1]);
    for (std::size_t i = 0, j = 0; i < std::size_t(a) && j < std::size_t(b);) {
      if (left[i] == right[j]) {
        mark(prefix + qsizetype(i), prefix + qsizetype(j));
        ++i, ++j;
      } else if (length[(i + 1) * width + j] >= length[i * width + j + 1]) {
        ++i;
      } else {
        ++j;
      }
    }
  } else {
    for (qsizetype i = prefix; i < std::min(n, m); ++i)
      if (reference[i] == candidate[i])
        mark(i, i);
  }
  out.share = double(common) / double(std::max(n, m));
  return out;
}

} // namespace bitlathe::gui
