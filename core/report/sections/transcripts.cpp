// SPDX-License-Identifier: Apache-2.0
// What the models said.
#include "core/judge/transcripts.h"
#include "core/report/numbers.h"
#include "core/report/section.h"

namespace bitlathe::report {

namespace {

Result<void> make(const Input& input, Compute&, Feedback&, std::vector<Block>& out) {
  const auto transcripts = transcripts_from_json(input.session.stage("transcripts"));
  if (transcripts.empty())
    return {};
  std::size_t same = 0;
  for (const Transcript& transcript : transcripts) {
    bool equal = transcript.sides.size() > 1;
    for (const TranscriptSide& side : transcript.sides)
      equal = equal && side.problem.empty() && side.text == transcript.sides.front().text;
    same += equal;
  }
  add(out, Paragraph{std::to_string(transcripts.size()) + " prompts; on " + std::to_string(same) +
                     " of them all models wrote the same text."});
  for (const Transcript& transcript : transcripts) {
    DocumentTable table{{{"model"}, {"text"}, {"tok/s", true}},
                        {},
                        (transcript.prompt_id.empty() ? "" : transcript.prompt_id + ": ") +
                            transcript.prompt};
    for (const TranscriptSide& side : transcript.sides)
      table.rows.push_back(
          {side.title, side.problem.empty() ? side.text : side.problem,
           side.seconds > 0 ? number_text(double(side.ids.size()) / side.seconds, 3) : "-"});
    add(out, std::move(table));
  }
  return {};
}

} // namespace

} // namespace bitlathe::report

namespace bitlathe {
extern const report::SectionKind report_section_transcripts;
const report::SectionKind report_section_transcripts{"transcripts", "Transcripts", report::make};
} // namespace bitlathe
