// SPDX-License-Identifier: Apache-2.0
#include "core/report/report.h"

#include <QDateTime>

namespace bitlathe::report {

Result<Input> open_input(Session session, const fs::path& file) {
  Input input;
  input.session = std::move(session);
  input.file = file;
  const fs::path model = session_path(file, input.session.checkpoint);
  std::error_code failed;
  if (!fs::exists(model, failed))
    return Error{"not-found",
                 "The checkpoint of this session is not there any more: " + model.string(),
                 file.string()};
  TRY_ASSIGN(input.checkpoint, open_checkpoint(model));
  if (!input.session.result.empty()) {
    const fs::path folder = session_path(file, input.session.result);
    auto kept = read_result(folder);
    auto opened =
        kept ? open_checkpoint(folder) : Result<std::shared_ptr<const Checkpoint>>(kept.error());
    if (opened) {
      input.kept = std::move(*kept);
      input.result = std::move(*opened);
    } else {
      input.notes.push_back("The kept result cannot be opened: " + opened.error().text());
    }
  }
  // A plan that cannot be made is said, not fatal: figures stay worth reading.
  auto plan = make_plan(*input.checkpoint, input.session.recipe, true);
  if (plan)
    input.plan = std::move(*plan);
  else
    input.notes.push_back("The recipe makes no plan: " + plan.error().text());
  return input;
}

Result<Document> session_report(const Input& input, Compute& compute, Feedback& feedback) {
  Document document;
  document.title = "Quantization report: " + input.checkpoint->name;
  document.subtitle =
      "Bitlathe " BITLATHE_VERSION ", " +
      QDateTime::currentDateTime().toString(QStringLiteral("yyyy-MM-dd HH:mm")).toStdString() +
      (input.file.empty() ? std::string() : ", session " + input.file.filename().string());
  for (const SectionKind* kind : all_report_sections()) {
    if (feedback.stopped())
      return Error{"cancelled", "Cancelled", ""};
    feedback.set_step(kind->title);
    Section section{kind->id, kind->title, {}};
    TRY(kind->make(input, compute, feedback, section.blocks));
    if (!section.blocks.empty())
      document.sections.push_back(std::move(section));
  }
  return document;
}

} // namespace bitlathe::report
