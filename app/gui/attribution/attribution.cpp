// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/attribution/attribution.h"

#include "app/gui/evaluate/evaluation_text.h"
#include "core/recipe/finer_scheme.h"

#include <map>

namespace bitlathe::gui {

namespace {

const QString stage_key = QStringLiteral("attribution");
const QString job_tag = QStringLiteral("attribution");

/// What raise() gives a module: a scheme, or "" for the original's values.
std::map<QString, QString> raised(const Plan& plan, const QStringList& modules) {
  std::map<QString, QString> out;
  for (const QString& name : modules)
    if (const PlannedModule* planned = plan.find(name.toStdString()); planned && planned->quantize)
      out[name] = QString::fromStdString(finer_scheme(planned->scheme));
  return out;
}

} // namespace

Attribution& Attribution::of(Workbench& workbench) {
  auto* existing = workbench.findChild<Attribution*>({}, Qt::FindDirectChildrenOnly);
  return existing ? *existing : *new Attribution(workbench);
}

Attribution::Attribution(Workbench& workbench) : QObject(&workbench), workbench_(workbench) {
  connect(&workbench, &Workbench::opened, this, &Attribution::restore);
  connect(&workbench, &Workbench::resultsChanged, this, &Attribution::quantizeDone);
  connect(&workbench, &Workbench::contendersChanged, this, &Attribution::changed);
  connect(&workbench.engine(), &EngineThread::progressed, this, &Attribution::drain);
  restore();
}

void Attribution::restore() {
  if (running_)
    stop();
  running_ = after_quantizing_ = false;
  report_.reset();
  problem_.clear();
  wish_ = {};
  if (workbench_.checkpoint())
    if (const Json kept = workbench_.stageState(stage_key); kept.is_object()) {
      AttributionReport report = attribution_from_json(kept);
      if (!report.rows.empty() || !report.curves.empty())
        report_ = std::make_shared<const AttributionReport>(std::move(report));
    }
  Q_EMIT changed();
}

JobStatus Attribution::job() const {
  for (const JobStatus& status : workbench_.engine().jobs())
    if (status.tag == job_tag)
      return status;
  return {};
}

QStringList Attribution::candidates() const {
  QStringList out;
  const auto contenders = workbench_.contenders();
  for (qsizetype i = 1; i < contenders.size(); ++i)
    out.append(contenders[i].title);
  return out;
}

bool Attribution::stale() const {
  if (!report_ || report_->rows.empty())
    return false;
  const auto contenders = workbench_.contenders();
  for (qsizetype i = 1; i < contenders.size(); ++i)
    if (contenders[i].checkpoint && contenders[i].checkpoint->path.string() == report_->candidate)
      return contenders[i].checkpoint == workbench_.quantized() && workbench_.resultStale();
  return true;
}

void Attribution::measure(const Wish& wish) {
  const auto& model = workbench_.checkpoint();
  const EvaluationText& text = EvaluationText::of(workbench_);
  if (!model || running_ || text.choice().path.isEmpty())
    return;
  std::shared_ptr<const Checkpoint> candidate;
  for (const Contender& contender : workbench_.contenders())
    if (!wish.candidate.isEmpty() && contender.title == wish.candidate &&
        contender.checkpoint != model)
      candidate = contender.checkpoint;
  if (!candidate && wish.schemes.isEmpty())
    return;
  wish_ = wish;
  problem_.clear();
  running_ = true;
  Q_EMIT changed();
  workbench_.engine().run<AttributionReport>(
      job_tag, candidate ? tr("What every module costs") : tr("What schemes cost"), this,
      [this, model, candidate, wish, known = report_, file = text.file(),
       choice = text.choice()](Feedback& feedback, Compute& compute) -> Result<AttributionReport> {
        feedback.set_step("tokenizing");
        TRY_ASSIGN(const JudgedFile judged,
                   read_judged_text(*model, file, choice.context, choice.windows, true));
        AttributionOptions options;
        options.alone = wish.alone;
        options.without = wish.without;
        options.measured_share = wish.share;
        options.predict = wish.share < 1;
        for (const QString& scheme : wish.schemes)
          options.schemes.push_back(scheme.toStdString());
        options.method = wish.method.toStdString();
        options.known = known.get();
        options.on_change = [this](const AttributionReport& report) {
          auto copy = std::make_shared<const AttributionReport>(report);
          const std::lock_guard lock(mutex_);
          incoming_ = std::move(copy);
        };
        TRY_ASSIGN(auto report,
                   attribute(*model, candidate.get(), judged.text, compute, options, feedback));
        report.notes.insert(report.notes.end(), judged.notes.begin(), judged.notes.end());
        if (candidate)
          for (auto& note : overlap_notes(candidate->path, judged, wish.candidate.toStdString()))
            report.notes.push_back(std::move(note));
        return report;
      },
      [this, model](Result<AttributionReport> outcome) {
        if (model == workbench_.checkpoint())
          finished(std::move(outcome));
      });
}

void Attribution::drain() {
  if (!running_)
    return;
  Report now;
  {
    const std::lock_guard lock(mutex_);
    now.swap(incoming_);
  }
  if (!now)
    return;
  report_ = std::move(now);
  Q_EMIT changed();
}

void Attribution::finished(Result<AttributionReport> outcome) {
  {
    const std::lock_guard lock(mutex_);
    if (!outcome && incoming_) // what came before it failed is true nevertheless
      report_ = std::move(incoming_);
    incoming_.reset();
  }
  running_ = false;
  if (outcome)
    report_ = std::make_shared<const AttributionReport>(std::move(*outcome));
  else if (!outcome.error().cancelled())
    problem_ = QString::fromStdString(outcome.error().text());
  keep();
  Q_EMIT changed();
}

void Attribution::keep() {
  if (report_ && (!report_->rows.empty() || !report_->curves.empty()))
    workbench_.setStageState(stage_key, Json::parse(attribution_to_json(*report_).dump()));
}

void Attribution::stop() {
  after_quantizing_ = false;
  if (const JobStatus status = job(); status.id)
    workbench_.engine().cancel(status.id);
}

void Attribution::quantizeAndMeasure(const Wish& wish) {
  if (running_ || workbench_.quantizing())
    return;
  wish_ = wish;
  after_quantizing_ = true;
  workbench_.startQuantize();
  Q_EMIT changed();
}

void Attribution::quantizeDone() {
  if (!after_quantizing_ || workbench_.quantizing()) {
    Q_EMIT changed();
    return;
  }
  after_quantizing_ = false;
  if (workbench_.quantized() && !workbench_.resultStale()) {
    Wish wish = wish_;
    wish.candidate = candidates().value(0); // the new result has another title
    measure(wish);
  }
  Q_EMIT changed();
}

QString Attribution::raiseText(const QStringList& modules) const {
  const Plan* plan = workbench_.plan();
  if (!plan)
    return {};
  QString from, to;
  int count = 0;
  for (const auto& [name, scheme] : raised(*plan, modules)) {
    const QString now = QString::fromStdString(plan->find(name.toStdString())->scheme.id);
    from = count == 0 || from == now ? now : tr("what they have");
    const QString next = scheme.isEmpty() ? tr("as in the original") : scheme;
    to = count == 0 || to == next ? next : tr("one step up");
    ++count;
  }
  return count == 0 ? QString() : tr("%1 \u2192 %2").arg(from, to);
}

void Attribution::raise(const QStringList& modules) {
  const Plan* plan = workbench_.plan();
  if (!plan)
    return;
  std::map<QString, QStringList> by_scheme;
  for (const auto& [name, scheme] : raised(*plan, modules))
    by_scheme[scheme].append(name);
  if (by_scheme.empty())
    return;
  workbench_.undoStack().beginMacro(tr("Raise the precision of %1")
                                        .arg(modules.size() == 1
                                                 ? modules.first().section('.', -2)
                                                 : tr("%1 modules").arg(modules.size())));
  for (const auto& [scheme, names] : by_scheme)
    if (scheme.isEmpty())
      workbench_.setExcluded(names, true);
    else
      workbench_.setModules(names, scheme, {});
  workbench_.undoStack().endMacro();
}

} // namespace bitlathe::gui
