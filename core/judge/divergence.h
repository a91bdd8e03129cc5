// SPDX-License-Identifier: Apache-2.0
// Where two texts part ways and what they share, as lists of tokens or words. Tokens are given by
// the bytes they add to the text, so that models with different vocabularies can be compared too.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bitlathe {

using Pieces = std::vector<std::string>;

/// Index of the first piece that differs, or -1 while none does. A finished text that is a prefix
/// of the other one differs at its end.
std::int64_t first_divergence(const Pieces& reference, bool reference_done, const Pieces& candidate,
                              bool candidate_done);

/// What the text of one side shares with the other.
struct Agreement {
  std::vector<bool> reference, candidate; ///< per piece: part of the longest common subsequence
  double share = 1;                       ///< common pieces / pieces of the longer side
};
/// Common prefix and suffix first, then the longest common subsequence of what lies between (up to
/// 2048 pieces a side; beyond that only equal positions count).
Agreement agreement(const Pieces& reference, const Pieces& candidate);

/// Length of the longest common subsequence, at any length: without the places it takes a small
/// part of the time.
std::size_t common_pieces(const Pieces& reference, const Pieces& candidate);

/// A stretch of a difference: pieces [begin, end) of either side; a removed one has none of the
/// candidate's, an inserted one none of the reference's.
struct DiffRun {
  enum class Kind { same, removed, inserted };
  Kind kind = Kind::same;
  std::size_t reference_begin = 0, reference_end = 0, candidate_begin = 0, candidate_end = 0;
};
/// In order; removed before inserted.
std::vector<DiffRun> difference(const Pieces& reference, const Pieces& candidate);

/// A text cut into words, each with the white space before it; punctuation stands alone. Nothing
/// is lost: together they are the text.
Pieces words_of(std::string_view text);

} // namespace bitlathe
