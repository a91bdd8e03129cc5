// SPDX-License-Identifier: Apache-2.0
// What was quantized.
#include "core/report/numbers.h"
#include "core/report/section.h"

namespace bitlathe::report {

namespace {

Result<void> make(const Input& input, Compute&, Feedback&, std::vector<Block>& out) {
  const Checkpoint& model = *input.checkpoint;
  Facts facts;
  facts.add("Name", model.name);
  facts.add("Files", model.path.string());
  facts.add("Format", model.format);
  facts.add("Architecture", model.architecture);
  facts.add("Parameters", count_text(double(model.parameters())));
  facts.add("Size", bytes_text(model.bytes()));
  if (model.spec)
    facts.add("Shape", std::to_string(model.spec->layers) + " blocks, hidden " +
                           std::to_string(model.spec->hidden) + ", context " +
                           std::to_string(model.spec->context));
  if (model.quantized())
    facts.add("Source", "already quantized: errors add up");
  if (!model.spec)
    facts.add("Cannot be run", model.why_not_runnable);
  add(out, std::move(facts));
  for (const auto* notes : {&input.notes, &model.notes})
    for (const std::string& note : *notes)
      add(out, Paragraph{note, Paragraph::Kind::note});
  return {};
}

} // namespace

} // namespace bitlathe::report

namespace bitlathe {
extern const report::SectionKind report_section_model;
const report::SectionKind report_section_model{"model", "Model", report::make};
} // namespace bitlathe
