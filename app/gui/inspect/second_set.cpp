// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/inspect/second_set.h"

#include "core/calib/sets.h"

#include <algorithm>
#include <QDateTime>
#include <QDir>
#include <QFileInfo>

namespace bitlathe::gui {

namespace {

using Differences = std::map<QString, ActivationDifference>;

Differences differencesOf(const ActivationStatistics& first, const ActivationStatistics& second) {
  Differences out;
  for (const auto& [name, module] : first.modules)
    if (const auto it = second.modules.find(name); it != second.modules.end())
      if (auto difference = compare_activations(module, it->second))
        out[QString::fromStdString(name)] = *difference;
  return out;
}

/// How much of the second set's text is in the first.
QString sharedText(const CalibrationRecord& first, const CalibrationSet& second) {
  std::int64_t met = 0;
  for (const auto& sample : second.samples) {
    const auto overlaps = windows_that_overlap(first, sample, std::int64_t(sample.size()));
    met += std::find(overlaps.begin(), overlaps.end(), true) != overlaps.end();
  }
  return met == 0 ? QString()
                  : SecondSet::tr("%1 of the %2 windows of the second set hold text of the first.")
                        .arg(met)
                        .arg(second.samples.size());
}

} // namespace

QString secondSetKey() { return QStringLiteral("second-set"); }

SecondSet& SecondSet::of(Workbench& workbench) {
  auto* existing = workbench.findChild<SecondSet*>({}, Qt::FindDirectChildrenOnly);
  return existing ? *existing : *new SecondSet(workbench);
}

SecondSet::SecondSet(Workbench& workbench) : QObject(&workbench), workbench_(workbench) {
  connect(&workbench, &Workbench::opened, this, &SecondSet::restore);
  connect(&workbench, &Workbench::statisticsChanged, this, &SecondSet::compare);
  restore();
}

const ActivationDifference* SecondSet::difference(const QString& module) const {
  const auto it = differences_.find(module);
  return it == differences_.end() ? nullptr : &it->second;
}

void SecondSet::collect(const std::vector<CalibrationFile>& files, qint64 seed,
                        const QString& title) {
  const auto model = workbench_.checkpoint();
  if (!model || collecting_)
    return;
  const Recipe& recipe = workbench_.recipe();
  const QString path =
      Workbench::keptFolder() + '/' + QString::fromStdString(model->name) + "-second-" +
      QDateTime::currentDateTime().toString(QStringLiteral("yyyyMMdd-HHmmss-zzz")) + ".stats";
  run(title, tr("Calibrate on %1").arg(title),
      [model, files, seed, samples = recipe.samples, length = recipe.length, path,
       first = workbench_.statistics()](Feedback& feedback, Compute& compute) -> Result<Collected> {
        feedback.set_step("tokenizing");
        TRY_ASSIGN(const CalibrationSet set,
                   draw_calibration(*model, files, samples, length, seed));
        feedback.set_step("running the model");
        TRY_ASSIGN(auto statistics, calibrate(model, compute, set.samples, feedback));
        for (const CalibrationSource& source : set.record.sources)
          statistics.sources.push_back(source.path);
        statistics.record = set.record;
        Collected out;
        for (const std::string& note : set.notes)
          out.notes << QString::fromStdString(note) + '.';
        if (const QString shared = first ? sharedText(first->record, set) : QString();
            !shared.isEmpty())
          out.notes << shared;
        QDir().mkpath(QFileInfo(path).absolutePath());
        if (write_statistics(path.toStdString(), statistics, *model, "own"))
          out.path = path;
        out.statistics = std::make_shared<const ActivationStatistics>(std::move(statistics));
        return out;
      });
}

void SecondSet::read(const QString& path, const QString& title) {
  const auto model = workbench_.checkpoint();
  if (!model || collecting_)
    return;
  run(title.isEmpty() ? QFileInfo(path).fileName() : title,
      tr("Reading %1").arg(QFileInfo(path).fileName()),
      [model, path](Feedback&, Compute&) -> Result<Collected> {
        Collected out;
        std::vector<std::string> notes;
        TRY_ASSIGN(auto statistics, read_statistics(path.toStdString(), *model, &notes));
        for (const std::string& note : notes)
          out.notes << QString::fromStdString(note);
        out.path = path;
        out.statistics = std::make_shared<const ActivationStatistics>(std::move(statistics));
        return out;
      });
}

void SecondSet::run(const QString& title, const QString& job,
                    std::function<Result<Collected>(Feedback&, Compute&)> work) {
  collecting_ = true;
  Q_EMIT changed();
  workbench_.engine().run<Collected>(
      QStringLiteral("calibrate-second"), job, this, std::move(work),
      [this, title, model = workbench_.checkpoint()](Result<Collected> done) {
        if (model != workbench_.checkpoint())
          return;
        collecting_ = false;
        if (done) {
          statistics_ = done->statistics;
          path_ = done->path;
          notes_ = done->notes;
          title_ = title;
          differences_.clear();
          keep();
          compare();
        } else if (!done.error().cancelled()) {
          Q_EMIT workbench_.message(int(LogLevel::error),
                                    QString::fromStdString(done.error().text()));
        }
        Q_EMIT changed();
      });
}

void SecondSet::drop() {
  statistics_.reset();
  title_.clear();
  path_.clear();
  notes_.clear();
  differences_.clear();
  keep();
  Q_EMIT changed();
}

void SecondSet::compare() {
  const auto first = workbench_.statistics();
  if (!statistics_ || !first) {
    if (!differences_.empty()) {
      differences_.clear();
      Q_EMIT changed();
    }
    return;
  }
  workbench_.engine().run<Differences>(
      QStringLiteral("compare-sets"), tr("Comparing two calibration sets"), this,
      [first, second = statistics_](Feedback&, Compute&) -> Result<Differences> {
        return differencesOf(*first, *second);
      },
      [this, first, second = statistics_](Result<Differences> compared) {
        if (!compared || first != workbench_.statistics() || second != statistics_)
          return;
        differences_ = std::move(*compared);
        Q_EMIT changed();
      },
      false);
}

void SecondSet::keep() {
  if (!workbench_.checkpoint())
    return;
  const Json kept =
      path_.isEmpty() ? Json()
                      : Json{{"statistics", path_.toStdString()}, {"title", title_.toStdString()}};
  if (kept != workbench_.stageState(secondSetKey()))
    workbench_.setStageState(secondSetKey(), kept);
}

void SecondSet::restore() {
  collecting_ = false;
  statistics_.reset();
  title_.clear();
  path_.clear();
  notes_.clear();
  differences_.clear();
  Q_EMIT changed();
  const Json kept = workbench_.stageState(secondSetKey());
  if (!kept.is_object())
    return;
  const auto word = [&](const char* key) {
    const auto it = kept.find(key);
    return it != kept.end() && it->is_string() ? QString::fromStdString(it->get<std::string>())
                                               : QString();
  };
  const QString path = word("statistics"), title = word("title");
  if (!QFileInfo(path).isFile())
    return;
  read(path, title);
}

} // namespace bitlathe::gui
