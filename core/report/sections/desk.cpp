// SPDX-License-Identifier: Apache-2.0
// What people preferred, not knowing which was which.
#include "core/judge/desk_result.h"
#include "core/report/charts.h"
#include "core/report/numbers.h"
#include "core/report/section.h"

namespace bitlathe::report {

namespace {

std::string range(const Interval& interval) {
  return percent_text(interval.low, 0) + " to " + percent_text(interval.high, 0);
}

void add_counts(DocumentTable& table, std::string name, const DeskCounts& counts,
                const DeskShare& share, double p) {
  const bool any = share.of > 0;
  table.rows.push_back({std::move(name), std::to_string(counts.first),
                        std::to_string(counts.second), std::to_string(counts.ties),
                        std::to_string(counts.both_bad), std::to_string(counts.identical),
                        std::to_string(counts.open), any ? percent_text(share.share, 0) : "-",
                        any ? range(share.exact) : "-", number_text(p, 3)});
}

void add_desk(const Desk& desk, std::vector<Block>& out) {
  if (!desk.unsealed()) {
    add(out, Paragraph{"A desk made " + desk.made() + ": " + std::to_string(desk.answered()) +
                           " of " + std::to_string(desk.asked()) +
                           " items judged; the identities are still sealed.",
                       Paragraph::Kind::muted});
    return;
  }
  const DeskResult result = desk_result(desk);
  const auto& models = desk.models();
  BarChart chart;
  chart.axis = "share of decided votes for the second model";
  chart.mark = 0.5;
  chart.maximum = 1;
  chart.caption = "Whiskers are exact 95 % intervals; one that reaches over the line leaves even "
                  "odds possible.";
  DocumentTable table{{{"pair"},
                       {"first", true},
                       {"second", true},
                       {"tie", true},
                       {"both bad", true},
                       {"identical", true},
                       {"not judged", true},
                       {"second preferred", true},
                       {"95 % exact", true},
                       {"sign test p", true}},
                      {},
                      "Votes. The sign test is exact, two-sided and leaves ties out."};
  for (const DeskPairResult& pair : result.pairs) {
    const std::string name = models[pair.models.a].title + " : " + models[pair.models.b].title;
    add(out, Paragraph{pair.verdict});
    add(out, Paragraph{pair.power, Paragraph::Kind::muted});
    if (pair.preferred.of > 0) {
      BarChart::Bar bar;
      bar.name = name;
      bar.value = pair.preferred.share;
      bar.low = pair.preferred.exact.low;
      bar.high = pair.preferred.exact.high;
      bar.color = contender_color(pair.models.b);
      bar.text = percent_text(pair.preferred.share, 0);
      chart.bars.push_back(std::move(bar));
    }
    table.strong.push_back(table.rows.size());
    add_counts(table, name, pair.counts, pair.preferred, pair.p);
    for (const DeskPart& part : pair.categories)
      add_counts(table, part.category.empty() ? "(no category)" : part.category, part.counts,
                 part.preferred, sign_test_p(part.counts.first, part.counts.second));
  }
  if (!chart.bars.empty())
    add(out, bar_figure(chart));
  add(out, std::move(table));
  DocumentTable items{{{"prompt"}, {"A"}, {"B"}, {"vote"}, {"note"}}, {}, "Items"};
  for (std::size_t i = 0; i < desk.items().size(); ++i) {
    const DeskItem& item = desk.items()[i];
    const DeskSides sides = *desk.sides(i);
    const std::string_view vote = vote_id(desk.vote(i));
    items.rows.push_back({item.prompt_id.empty() ? item.prompt : item.prompt_id,
                          models[sides.a].title, models[sides.b].title,
                          item.identical ? "identical"
                          : vote.empty() ? "not judged"
                                         : std::string(vote),
                          desk.note(i)});
  }
  add(out, std::move(items));
  for (const std::string& note : result.notes)
    add(out, Paragraph{note, note == desk.tampering() ? Paragraph::Kind::warning
                                                      : Paragraph::Kind::note});
  add(out, Paragraph{"Made " + desk.made() + ", unsealed " + desk.unsealed_at() +
                         ". Commitment (SHA-256): " + desk.commitment(),
                     Paragraph::Kind::muted});
}

Result<void> make(const Input& input, Compute&, Feedback&, std::vector<Block>& out) {
  std::vector<std::string> notes;
  for (const Desk& desk : desks_from_json(input.session.stage("desk"), &notes))
    add_desk(desk, out);
  for (std::string& note : notes)
    add(out, Paragraph{std::move(note), Paragraph::Kind::warning});
  return {};
}

} // namespace

} // namespace bitlathe::report

namespace bitlathe {
extern const report::SectionKind report_section_desk;
const report::SectionKind report_section_desk{"desk", "Blind desk", report::make};
} // namespace bitlathe
