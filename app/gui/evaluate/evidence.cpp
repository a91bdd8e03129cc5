// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/evaluate/evidence.h"

#include "app/gui/evaluate/verdict.h"

namespace bitlathe::gui {
namespace {

const QString stage_key = QStringLiteral("evidence");

} // namespace

Evidence* Evidence::of(Workbench& workbench) {
  if (auto* found = workbench.findChild<Evidence*>({}, Qt::FindDirectChildrenOnly))
    return found;
  return new Evidence(workbench);
}

Evidence::Evidence(Workbench& workbench) : QObject(&workbench), workbench_(workbench) {
  connect(&workbench_, &Workbench::opened, this, [this] {
    verifications_.clear();
    problems_.clear();
    prompts_.clear();
    planReviewed_ = false;
    folder_ = workbench_.resultFolder();
    restore();
    Q_EMIT changed();
  });
  connect(&workbench_, &Workbench::resultsChanged, this, &Evidence::forgetResult);
  for (const auto signal : {&Workbench::planChanged, &Workbench::compareChanged})
    connect(&workbench_, signal, this, &Evidence::changed);
  connect(&workbench_, &Workbench::exportFinished, this, &Evidence::changed);
  folder_ = workbench_.resultFolder();
  restore();
}

void Evidence::forgetResult() {
  if (workbench_.resultFolder() != folder_) {
    folder_ = workbench_.resultFolder();
    prompts_.clear();
    verifications_.clear();
    problems_.clear();
  }
  Q_EMIT changed();
}

void Evidence::promptCompared(const QString& prompt, bool sameTokens) {
  prompts_[prompt] = sameTokens;
  keep();
  Q_EMIT changed();
}

void Evidence::verified(const QString& path, const VerifyReport& report) {
  problems_.remove(path);
  verifications_[path] = report;
  Q_EMIT changed();
}

void Evidence::verificationFailed(const QString& path, const QString& why) {
  verifications_.remove(path);
  problems_[path] = why;
  Q_EMIT changed();
}

void Evidence::planLookedAt() {
  if (planReviewed_ || !workbench_.plan())
    return;
  planReviewed_ = true;
  keep();
  Q_EMIT changed();
}

const VerifyReport* Evidence::verification(const QString& path) const {
  const auto at = verifications_.constFind(path);
  return at == verifications_.constEnd() ? nullptr : &*at;
}

QString Evidence::verificationProblem(const QString& path) const { return problems_.value(path); }

ChecklistEvidence Evidence::collect() const {
  ChecklistEvidence out;
  if (const auto& model = workbench_.checkpoint()) {
    out.opened = true;
    out.model = QString::fromStdString(model->name);
  }
  out.planned = workbench_.plan() != nullptr;
  out.planReviewed = planReviewed_ || workbench_.undoStack().index() > 0;
  out.planNotes = out.planned ? int(workbench_.plan()->notes.size()) : 0;
  if (const QuantizeSummary* summary = workbench_.summary()) {
    out.quantized = true;
    out.quantizeNotes = int(summary->notes.size());
    out.stale = workbench_.resultStale();
  }
  out.promptsCompared = int(prompts_.size());
  for (const bool same : prompts_)
    out.promptsSame += same;
  if (const CompareReport* report = workbench_.compareReport();
      report && !workbench_.comparing() && !report->models.empty() && out.quantized) {
    out.measured = true;
    out.verdict = judge(report->models.front(), *report).text;
  }
  out.exported = int(workbench_.exports().size());
  for (const VerifyReport& report : verifications_)
    ++(report.ok ? out.verified : out.verifyFailed);
  out.verifyFailed += int(problems_.size());
  return out;
}

Json Evidence::state() const {
  Json prompts = Json::object();
  for (auto it = prompts_.begin(); it != prompts_.end(); ++it)
    prompts[it.key().toStdString()] = it.value();
  return {{"plan_reviewed", planReviewed_},
          {"result", folder_.toStdString()},
          {"prompts", std::move(prompts)}};
}

void Evidence::keep() { workbench_.setStageState(stage_key, state()); }

void Evidence::restore() {
  const Json kept = workbench_.stageState(stage_key);
  if (!kept.is_object())
    return;
  if (const auto it = kept.find("plan_reviewed"); it != kept.end() && it->is_boolean())
    planReviewed_ = it->get<bool>();
  const auto result = kept.find("result");
  if (result == kept.end() || !result->is_string() ||
      result->get<std::string>() != folder_.toStdString())
    return;
  if (const auto it = kept.find("prompts"); it != kept.end() && it->is_object())
    for (const auto& [prompt, same] : it->items())
      if (same.is_boolean())
        prompts_[QString::fromStdString(prompt)] = same.get<bool>();
}

} // namespace bitlathe::gui
