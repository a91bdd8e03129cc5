// SPDX-License-Identifier: Apache-2.0
#include "core/judge/desk_result.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

namespace bitlathe {

namespace {

constexpr double level = 0.05, power = 0.8;

std::string percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.0f %%", 100 * share);
  return text;
}

std::string p_text(double p) {
  char text[32];
  std::snprintf(text, sizeof text, p < 0.001 ? "%.1e" : "%.3f", p);
  return std::string("p = ") + text;
}

std::string count_of(std::int64_t n, const char* one, const char* more) {
  return std::to_string(n) + " " + (n == 1 ? one : more);
}

void count(DeskCounts& counts, const Desk& desk, std::size_t item, bool first_stands_left) {
  if (desk.items()[item].identical) {
    ++counts.identical;
    return;
  }
  switch (desk.vote(item)) {
  case Vote::a:
    ++(first_stands_left ? counts.first : counts.second);
    return;
  case Vote::b:
    ++(first_stands_left ? counts.second : counts.first);
    return;
  case Vote::tie:
    ++counts.ties;
    return;
  case Vote::both_bad:
    ++counts.both_bad;
    return;
  case Vote::none:
    ++counts.open;
  }
}

DeskShare share_of(std::int64_t part, std::int64_t all) {
  DeskShare out;
  out.of = all;
  out.share = all > 0 ? double(part) / double(all) : std::numeric_limits<double>::quiet_NaN();
  out.wilson = wilson_interval(part, all);
  out.exact = exact_interval(part, all);
  return out;
}

std::string verdict_of(const DeskPairResult& pair, const std::vector<DeskModel>& models,
                       bool adjusted) {
  const std::string &first = models[pair.models.a].title, &second = models[pair.models.b].title;
  const std::int64_t decided = pair.counts.decided();
  if (pair.counts.judged() == 0)
    return "Nothing was judged.";
  if (decided == 0)
    return first + " and " + second + " are not distinguishable: no vote was for either of them.";
  const bool second_leads = pair.counts.second > pair.counts.first;
  const std::int64_t lead = std::max(pair.counts.first, pair.counts.second);
  const std::string figures =
      std::to_string(lead) + " of " + count_of(decided, "decided vote", "decided votes") + ", " +
      p_text(pair.p) +
      (adjusted ? ", adjusted for the number of pairs " + p_text(pair.p_adjusted) : "");
  if (pair.distinguishable)
    return (second_leads ? second : first) + " is preferred to " + (second_leads ? first : second) +
           ": " + figures + ".";
  return first + " and " + second + " are not distinguishable: " +
         (pair.counts.first == pair.counts.second
              ? "as many votes for one as for the other"
              : (second_leads ? second : first) + " got " + figures) +
         ".";
}

std::string power_of(const DeskPairResult& pair) {
  const std::int64_t n = pair.counts.decided();
  if (pair.needed == 0)
    return (n == 0 ? std::string("Without decided votes")
                   : "With " + count_of(n, "decided vote", "decided votes")) +
           " no difference can be shown, not even by all of them for one side; it takes six.";
  return "With " + std::to_string(n) + " decided votes a difference shows when one side gets " +
         (pair.needed == n ? "all of them" : "at least " + std::to_string(pair.needed)) +
         "; a model that is truly preferred in " + percent(pair.detectable) +
         " of such cases would be found out by four desks of five.";
}

std::vector<DeskPart> categories_of(const Desk& desk, const DeskSides& pair) {
  std::vector<DeskPart> parts;
  for (std::size_t i = 0; i < desk.items().size(); ++i) {
    const DeskSides sides = *desk.sides(i);
    const bool straight = sides.a == pair.a && sides.b == pair.b;
    if (!straight && !(sides.a == pair.b && sides.b == pair.a))
      continue;
    const std::string& name = desk.items()[i].category;
    auto at = std::find_if(parts.begin(), parts.end(),
                           [&](const DeskPart& part) { return part.category == name; });
    if (at == parts.end())
      at = parts.insert(at, DeskPart{name, {}, {}});
    count(at->counts, desk, i, straight);
  }
  for (DeskPart& part : parts)
    part.preferred = share_of(part.counts.second, part.counts.decided());
  std::sort(parts.begin(), parts.end(),
            [](const DeskPart& x, const DeskPart& y) { return x.category < y.category; });
  return parts;
}

DeskPairResult pair_result(const Desk& desk, const DeskSides& pair) {
  DeskPairResult out;
  out.models = pair;
  out.categories = categories_of(desk, pair);
  for (const DeskPart& part : out.categories) {
    out.counts.first += part.counts.first;
    out.counts.second += part.counts.second;
    out.counts.ties += part.counts.ties;
    out.counts.both_bad += part.counts.both_bad;
    out.counts.identical += part.counts.identical;
    out.counts.open += part.counts.open;
  }
  // A category of its own for every prompt says nothing.
  const std::int64_t items = out.counts.judged() + out.counts.open;
  if (out.categories.size() < 2 || 2 * std::int64_t(out.categories.size()) > items)
    out.categories.clear();
  const DeskCounts& counts = out.counts;
  out.preferred = share_of(counts.second, counts.decided());
  out.not_worse = share_of(counts.judged() - counts.first, counts.judged());
  out.p = sign_test_p(counts.first, counts.second);
  out.needed = votes_to_show(counts.decided(), level);
  out.detectable = detectable_share(counts.decided(), level, power);
  return out;
}

} // namespace

DeskResult desk_result(const Desk& desk) {
  DeskResult out;
  std::vector<double> p;
  for (const DeskSides& pair : desk.pairs()) {
    out.pairs.push_back(pair_result(desk, pair));
    p.push_back(out.pairs.back().p);
  }
  const auto adjusted = holm_adjusted(p);
  std::int64_t identical = 0, open = 0;
  for (std::size_t i = 0; i < out.pairs.size(); ++i) {
    DeskPairResult& pair = out.pairs[i];
    pair.p_adjusted = adjusted[i];
    pair.distinguishable = pair.p_adjusted < level;
    pair.verdict = verdict_of(pair, desk.models(), out.pairs.size() > 1);
    pair.power = power_of(pair);
    identical += pair.counts.identical;
    open += pair.counts.open;
  }
  if (!desk.unsealed())
    return out;
  for (std::size_t i = 0; i < desk.items().size(); ++i) {
    out.left += desk.vote(i) == Vote::a;
    out.right += desk.vote(i) == Vote::b;
  }
  out.side_p = sign_test_p(out.left, out.right);
  out.notes = desk.notes();
  if (identical > 0)
    out.notes.push_back(count_of(identical, "item", "items") +
                        " had the same text on both sides: not asked, counted as " +
                        (identical == 1 ? "a tie" : "ties"));
  if (open > 0)
    out.notes.push_back(count_of(open, "item was", "items were") +
                        " not judged when the desk was unsealed");
  if (out.side_p < level)
    out.notes.push_back("The judge favoured the " +
                        std::string(out.left > out.right ? "left" : "right") + " side (" +
                        std::to_string(out.left) + " votes left, " + std::to_string(out.right) +
                        " right, " + p_text(out.side_p) +
                        "); models stood on both sides equally often, so this adds noise and "
                        "favours none");
  if (out.pairs.size() > 1)
    out.notes.push_back("With several pairs, \"distinguishable\" goes by p-values adjusted for "
                        "their number (Holm)");
  if (!desk.tampering().empty())
    out.notes.push_back(desk.tampering());
  return out;
}

} // namespace bitlathe
