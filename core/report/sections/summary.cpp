// SPDX-License-Identifier: Apache-2.0
// The answer first: how much smaller, how much worse, and how sure that is.
#include "core/eval/verdict.h"
#include "core/report/numbers.h"
#include "core/report/section.h"

#include <algorithm>

namespace bitlathe::report {

namespace {

Result<void> make(const Input& input, Compute&, Feedback&, std::vector<Block>& out) {
  if (!input.kept) {
    add(out, Paragraph{"This session has no quantized result.", Paragraph::Kind::warning});
    return {};
  }
  const QuantizeSummary& summary = input.kept->summary;
  Facts facts;
  facts.add("Size", bytes_text(summary.bytes_before) + " \xE2\x86\x92 " +
                        bytes_text(summary.bytes_after) + ", " +
                        number_text(summary.bits_per_weight, 4) + " bits per weight (" +
                        number_text(summary.bits_per_quantized_weight, 4) + " where quantized)");
  const fs::path folder = session_path(input.file, input.session.result);
  if (input.session.compare) {
    const CompareReport& report = *input.session.compare;
    const auto model =
        std::find_if(report.models.begin(), report.models.end(), [&](const CompareResult& m) {
          return session_path(input.file, m.path) == folder;
        });
    if (model != report.models.end()) {
      const Verdict verdict = judge(*model, report);
      facts.add("Verdict", verdict.text);
      facts.add("Because", verdict.why);
      facts.add("Same top token", percent_text(model->top1_agreement) + " of " +
                                      std::to_string(model->tokens) + " tokens");
    }
  }
  add(out, std::move(facts));
  return {};
}

} // namespace

} // namespace bitlathe::report

namespace bitlathe {
extern const report::SectionKind report_section_summary;
const report::SectionKind report_section_summary{"summary", "In short", report::make};
} // namespace bitlathe
