// SPDX-License-Identifier: Apache-2.0
// Figures on held-out text.
#include "core/base/lenient_json.h"
#include "core/eval/judged_text.h"
#include "core/report/comparison.h"
#include "core/report/section.h"

namespace bitlathe::report {

namespace {

/// A candidate's name: the variant whose result it is, else its folder.
std::string name_of(const Input& input, const std::string& path) {
  for (const SessionVariant& variant : input.session.variants)
    if (!variant.result.empty() &&
        session_path(input.file, variant.result) == session_path(input.file, path))
      return variant.title;
  if (input.result && session_path(input.file, path) == input.result->path)
    return input.session.recipe.default_scheme + " " + input.session.recipe.default_method;
  const std::string name = fs::path(path).filename().string();
  return name.empty() ? path : name;
}

Result<void> make(const Input& input, Compute&, Feedback&, std::vector<Block>& out) {
  if (!input.session.compare || input.session.compare->models.empty()) {
    add(out,
        Paragraph{
            "Nothing was measured in this session: neither perplexity nor divergence is known.",
            Paragraph::Kind::warning});
    return {};
  }
  const CompareReport& report = *input.session.compare;
  ComparisonShown shown{
      report, input.checkpoint->name, input.checkpoint->bytes(), {}, nullptr, nullptr, {}};
  for (const CompareResult& model : report.models)
    shown.names.push_back(name_of(input, model.path));
  shown.tokenizer = input.checkpoint->tokenizer.get();
  // The text is the person's file: without it tokens are shown alone.
  const Json& choice = input.session.stage("evaluate");
  CalibrationFile file;
  file.path = lenient::text(choice, "text");
  file.split = lenient::text(choice, "part");
  const std::int64_t context = lenient::integer(choice, "context");
  std::optional<EvalText> text;
  if (!file.path.empty()) {
    shown.judged_on = fs::path(file.path).filename().string() +
                      (file.split.empty() ? "" : " (" + file.split + ")") + ", " +
                      std::to_string(report.reference_window_nll.size()) + " windows of " +
                      std::to_string(context) + " tokens";
    if (shown.tokenizer && context > 1)
      if (auto read = read_judged_text(*input.checkpoint, file, context, 0))
        text = std::move(read->text);
  }
  if (text)
    shown.text = &*text;
  add_comparison(shown, out);
  return {};
}

} // namespace

} // namespace bitlathe::report

namespace bitlathe {
extern const report::SectionKind report_section_quality;
const report::SectionKind report_section_quality{"quality", "Quality on text", report::make};
} // namespace bitlathe
