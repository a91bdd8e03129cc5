// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/evaluate/evidence.h"

#include "app/gui/compare/transcript_book.h"
#include "app/gui/desk/desk_book.h"

#include <algorithm>

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
    restore();
    Q_EMIT changed();
  });
  connect(&workbench_, &Workbench::resultsChanged, this, &Evidence::forgetResult);
  for (const auto signal : {&Workbench::planChanged, &Workbench::compareChanged,
                            &Workbench::variantsChanged, &Workbench::statisticsChanged})
    connect(&workbench_, signal, this, &Evidence::changed);
  connect(TranscriptBook::of(workbench_), &TranscriptBook::changed, this, &Evidence::changed);
  connect(DeskBook::of(workbench_), &DeskBook::changed, this, &Evidence::changed);
  // Jobs leave figures in the session: speed, for instance. Queued, so that it is there by then.
  connect(
      &workbench_.engine(), &EngineThread::jobChanged, this, [this] { Q_EMIT changed(); },
      Qt::QueuedConnection);
  connect(&workbench_, &Workbench::exportFinished, this, &Evidence::exported);
  restore();
}

void Evidence::forgetResult() {
  const std::string result = workbench_.resultFolder().toStdString();
  if (record_.result != result) {
    record_.result = result;
    record_.exports.clear();
    verifications_.clear();
    problems_.clear();
  }
  Q_EMIT changed();
}

void Evidence::exported() {
  for (const ExportOutcome& outcome : workbench_.exports()) {
    const std::string path = outcome.path.string();
    if (std::none_of(record_.exports.begin(), record_.exports.end(),
                     [&](const EvidenceRecord::Export& each) { return each.path == path; }))
      record_.exports.push_back({path});
  }
  keep();
}

void Evidence::note(const QString& path, bool checked, bool ok) {
  const std::string name = path.toStdString();
  auto at = std::find_if(record_.exports.begin(), record_.exports.end(),
                         [&](const EvidenceRecord::Export& each) { return each.path == name; });
  if (at == record_.exports.end())
    at = record_.exports.insert(at, EvidenceRecord::Export{name});
  at->verified = checked;
  at->ok = ok;
  keep();
}

void Evidence::verified(const QString& path, const VerifyReport& report) {
  problems_.remove(path);
  verifications_[path] = report;
  note(path, true, report.ok);
}

void Evidence::verificationFailed(const QString& path, const QString& why) {
  verifications_.remove(path);
  problems_[path] = why;
  note(path, true, false);
}

void Evidence::planLookedAt() {
  if (record_.plan_reviewed || !workbench_.plan())
    return;
  record_.plan_reviewed = true;
  keep();
}

const VerifyReport* Evidence::verification(const QString& path) const {
  const auto at = verifications_.constFind(path);
  return at == verifications_.constEnd() ? nullptr : &*at;
}

QString Evidence::verificationProblem(const QString& path) const { return problems_.value(path); }

ChecklistFacts Evidence::collect() const {
  ChecklistSources sources;
  if (const auto& model = workbench_.checkpoint()) {
    sources.model = model->name;
    sources.checkpoint = model->path.string();
  }
  sources.plan = workbench_.plan();
  sources.recipe = &workbench_.recipe();
  sources.statistics = workbench_.statistics() != nullptr;
  if (workbench_.recipe().calibration_files.empty() && workbench_.checkpoint())
    if (const auto files = workbench_.calibrationFiles(); !files.empty())
      sources.default_calibration = fs::path(files.front().path).filename().string();
  if (const QuantizeSummary* summary = workbench_.summary()) {
    sources.result = workbench_.resultFolder().toStdString();
    const int current = workbench_.currentVariant();
    sources.result_recipe =
        current >= 0 ? &workbench_.variants()[std::size_t(current)].recipe : &workbench_.recipe();
    sources.quantize_notes = std::int64_t(summary->notes.size());
  }
  if (!workbench_.comparing()) // running figures are no evidence yet
    sources.compare = workbench_.compareReport();
  sources.variants = &workbench_.variants();
  sources.speed = workbench_.stageState(QStringLiteral("speed"));
  sources.transcripts = &TranscriptBook::of(workbench_)->transcripts();
  sources.desks = &DeskBook::of(workbench_)->desks();
  sources.evidence = record_;
  sources.evidence.plan_reviewed = record_.plan_reviewed || workbench_.undoStack().index() > 0;
  ChecklistFacts facts = checklist_facts(sources);
  facts.stale = facts.quantized && workbench_.resultStale();
  return facts;
}

void Evidence::keep() {
  workbench_.setStageState(stage_key, Json(evidence_to_json(record_)));
  Q_EMIT changed();
}

void Evidence::restore() {
  verifications_.clear();
  problems_.clear();
  record_ = evidence_from_json(workbench_.stageState(stage_key));
  if (const std::string result = workbench_.resultFolder().toStdString();
      record_.result != result) {
    record_.result = result;
    record_.exports.clear();
  }
}

} // namespace bitlathe::gui
