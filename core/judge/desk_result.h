// SPDX-License-Identifier: Apache-2.0
// What the votes of a blind desk say, with their error: per pair of models and per category, and as
// files.
#pragma once

#include "core/judge/binomial.h"
#include "core/judge/desk.h"

namespace bitlathe {

struct DeskCounts {
  std::int64_t first = 0, second = 0; ///< votes for either model
  std::int64_t ties = 0, both_bad = 0;
  std::int64_t identical = 0; ///< not asked; count as ties
  std::int64_t open = 0;      ///< not judged
  std::int64_t decided() const { return first + second; }
  std::int64_t judged() const { return decided() + ties + both_bad + identical; }
};

struct DeskShare {
  double share = 0; ///< NaN when there is nothing to share out
  Interval wilson, exact;
  std::int64_t of = 0;
};

struct DeskPart {
  std::string category;
  DeskCounts counts;
  DeskShare preferred; ///< of decided votes for the second model
};

struct DeskPairResult {
  DeskSides models; ///< a is the first (the reference), b the second
  DeskCounts counts;
  DeskShare preferred;          ///< of decided votes for the second model
  DeskShare not_worse;          ///< of judged items without a vote for the first
  double p = 1;                 ///< exact sign test, two-sided, ties excluded
  double p_adjusted = 1;        ///< by Holm, for all pairs of the desk
  bool distinguishable = false; ///< p_adjusted < 0.05
  std::int64_t needed = 0;      ///< votes for one side that would have shown a difference; 0: none
  double detectable = 0;        ///< true share found in four of five such desks; NaN: none
  std::string verdict;          ///< a sentence: who was preferred, or not distinguishable
  std::string power;            ///< a sentence: what so many votes could have shown
  std::vector<DeskPart> categories; ///< when prompts have more than one
};

struct DeskResult {
  std::vector<DeskPairResult> pairs;
  std::int64_t left = 0, right = 0; ///< votes for the side, whoever stood there
  double side_p = 1;                ///< sign test of the two: a habit of the judge
  std::vector<std::string> notes;   ///< identical items, open ones, a side preferred, tampering
};
/// Of an unsealed desk; empty for a sealed one.
DeskResult desk_result(const Desk& desk);

/// Figures, and every item with its identities; a sealed desk tells only how far it has come.
OrderedJson desk_report_json(const Desk& desk);
/// One line per item.
std::string desk_csv(const Desk& desk);
/// For reading: figures, then every item with both texts.
std::string desk_markdown(const Desk& desk);

} // namespace bitlathe
