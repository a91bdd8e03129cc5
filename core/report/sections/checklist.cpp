// SPDX-License-Identifier: Apache-2.0
// Good practice before and after, and the evidence for it.
#include "core/judge/checklist.h"
#include "core/report/section.h"

namespace bitlathe::report {

namespace {

Result<void> make(const Input& input, Compute&, Feedback&, std::vector<Block>& out) {
  const Session& session = input.session;
  const auto transcripts = transcripts_from_json(session.stage("transcripts"));
  const auto desks = desks_from_json(session.stage("desk"));
  ChecklistSources sources;
  if (input.checkpoint) {
    sources.model = input.checkpoint->name;
    sources.checkpoint = input.checkpoint->path.string();
  }
  sources.plan = input.plan ? &*input.plan : nullptr;
  sources.recipe = &session.recipe;
  sources.statistics = !session.statistics.empty();
  if (!session.result.empty())
    sources.result = session_path(input.file, session.result).string();
  if (input.kept) {
    sources.result_recipe = &input.kept->recipe;
    sources.quantize_notes = std::int64_t(input.kept->summary.notes.size());
  }
  sources.compare = session.compare ? &*session.compare : nullptr;
  sources.variants = &session.variants;
  sources.speed = session.stage("speed");
  sources.transcripts = &transcripts;
  sources.desks = &desks;
  sources.evidence = evidence_from_json(session.stage("evidence"));
  DocumentTable table{{{""}, {"item"}, {"state"}, {"evidence"}}, {}, ""};
  for (const ChecklistItem& item : checklist(checklist_facts(sources))) {
    const bool done = item.state == ChecklistItem::State::done;
    if (done)
      table.strong.push_back(table.rows.size());
    table.rows.push_back({done                                       ? "\u2713"
                          : item.state == ChecklistItem::State::open ? ""
                                                                     : "!",
                          item.title, std::string(state_name(item.state)), item.detail});
  }
  add(out, std::move(table));
  return {};
}

} // namespace

} // namespace bitlathe::report

namespace bitlathe {
extern const report::SectionKind report_section_checklist;
const report::SectionKind report_section_checklist{"checklist", "Before and after", report::make};
} // namespace bitlathe
