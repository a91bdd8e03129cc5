// SPDX-License-Identifier: GPL-3.0-or-later
// The long actions: calibration, quantization, comparison, export.
#include "app/gui/inspect/second_set.h"
#include "app/gui/workbench_impl.h"
#include "core/calib/sets.h"
#include "core/engine/residency.h"
#include "core/recipe/mixes.h"

#include <QDateTime>
#include <QDir>
#include <QDirIterator>
#include <QFileInfo>
#include <QStandardPaths>
#include <set>

namespace bitlathe::gui {

namespace {

struct Calibrated {
  StatisticsPtr statistics;
  QString path;
  std::string problem; ///< why the statistics could not be kept
  std::vector<std::string> notes;
};

void say_failure(Workbench* workbench, const Error& error) {
  Q_EMIT workbench->message(int(LogLevel::error), QString::fromStdString(error.text()));
}

} // namespace

static QString kept_folder_override;

void Workbench::setKeptFolder(const QString& folder) { kept_folder_override = folder; }

QString Workbench::keptFolder() {
  if (!kept_folder_override.isEmpty())
    return kept_folder_override;
  return QStandardPaths::writableLocation(QStandardPaths::AppLocalDataLocation) + "/kept";
}

QString Workbench::Impl::freshFolder(const QString& suffix) const {
  const QString stem =
      keptFolder() + '/' + QString::fromStdString(checkpoint->name) + '-' +
      QDateTime::currentDateTime().toString(QStringLiteral("yyyyMMdd-HHmmss-zzz")) + suffix;
  return QDir::cleanPath(stem);
}

void Workbench::cleanKept() {
  QStringList used;
  if (impl_->run)
    used.append(QFileInfo(impl_->run->folder).absoluteFilePath());
  for (const SessionVariant& variant : impl_->variants)
    if (!variant.result.empty())
      used.append(QFileInfo(QString::fromStdString(variant.result)).absoluteFilePath());
  if (!impl_->statistics_path.isEmpty())
    used.append(QFileInfo(impl_->statistics_path).absoluteFilePath());
  if (const Json second = stageState(secondSetKey());
      second.is_object() && second.contains("statistics") && second["statistics"].is_string())
    used.append(QFileInfo(QString::fromStdString(second["statistics"].get<std::string>()))
                    .absoluteFilePath());
  impl_->engine.run<int>(
      QStringLiteral("clean"), tr("Removing kept results"), this,
      [root = keptFolder(), used](Feedback&, Compute&) -> Result<int> {
        int removed = 0;
        const auto entries = QDir(root).entryInfoList(QDir::AllEntries | QDir::NoDotAndDotDot);
        for (const auto& entry : entries) {
          if (used.contains(entry.absoluteFilePath()))
            continue;
          const bool ok = entry.isDir() ? QDir(entry.absoluteFilePath()).removeRecursively()
                                        : QFile::remove(entry.absoluteFilePath());
          if (!ok)
            return Error{"io", "Cannot remove a kept result",
                         entry.absoluteFilePath().toStdString()};
          ++removed;
        }
        return removed;
      },
      [this](Result<int> removed) {
        if (removed)
          Q_EMIT message(int(LogLevel::info), tr("Removed %n kept results", nullptr, *removed));
        else if (!removed.error().cancelled())
          say_failure(this, removed.error());
      });
}

bool Workbench::calibrating() const { return impl_->calibrating; }
StatisticsPtr Workbench::statistics() const { return impl_->statistics; }

std::vector<CalibrationFile> Workbench::calibrationFiles() const {
  if (!impl_->recipe.calibration_files.empty() || !impl_->checkpoint)
    return impl_->recipe.calibration_files;
  fs::path text =
      (fs::is_directory(impl_->checkpoint->path) ? impl_->checkpoint->path
                                                 : impl_->checkpoint->path.parent_path()) /
      "calibration.txt";
  if (!fs::exists(text) && !demoModelPath().isEmpty())
    text = fs::path(demoModelPath().toStdString()) / "calibration.txt";
  return {{text.string(), 1.0}};
}

/// The recipe with the text that is read; says when that is the demo's.
Recipe Workbench::calibrationRecipe() {
  Recipe recipe = impl_->recipe;
  if (!recipe.calibration_files.empty())
    return recipe;
  recipe.calibration_files = calibrationFiles();
  const fs::path text = recipe.calibration_files.front().path;
  const fs::path own = fs::is_directory(impl_->checkpoint->path)
                           ? impl_->checkpoint->path
                           : impl_->checkpoint->path.parent_path();
  if (text.parent_path() != own)
    Q_EMIT message(int(LogLevel::warning),
                   tr("The recipe names no calibration text: the demo's text is used. Name text "
                      "like what the model will read for statistics that fit."));
  return recipe;
}

void Workbench::startCalibration() {
  const auto model = impl_->checkpoint;
  if (!model || impl_->calibrating)
    return;
  const Recipe recipe = calibrationRecipe();
  impl_->calibrating = true;
  Q_EMIT statisticsChanged();
  impl_->engine.run<Calibrated>(
      QStringLiteral("calibrate"), tr("Calibrate %1").arg(QString::fromStdString(model->name)),
      this,
      [model, recipe, path = impl_->freshFolder(QStringLiteral(".stats"))](
          Feedback& feedback, Compute& compute) -> Result<Calibrated> {
        feedback.set_step("tokenizing");
        TRY_ASSIGN(const CalibrationSet set,
                   draw_calibration(*model, recipe.calibration_files, recipe.samples, recipe.length,
                                    recipe.calibration_seed));
        feedback.set_step("running the model");
        TRY_ASSIGN(auto statistics, calibrate(model, compute, set.samples, feedback));
        for (const CalibrationSource& source : set.record.sources)
          statistics.sources.push_back(source.path);
        statistics.record = set.record;
        Calibrated out;
        out.notes = set.notes;
        QDir().mkpath(QFileInfo(path).absolutePath());
        if (auto kept = write_statistics(path.toStdString(), statistics, *model, "own"); kept)
          out.path = path;
        else
          out.problem = kept.error().text();
        out.statistics = std::make_shared<const ActivationStatistics>(std::move(statistics));
        return out;
      },
      impl_->whileOpen<Calibrated>([this](Result<Calibrated> done) {
        impl_->calibrating = false;
        if (done) {
          impl_->statistics = done->statistics;
          impl_->statistics_path = done->path;
          for (const auto& note : done->notes)
            Q_EMIT message(int(LogLevel::warning), QString::fromStdString(note));
          impl_->replan(); // mixes look at whether there is importance
          Q_EMIT planChanged();
          impl_->touch();
          if (!done->problem.empty())
            Q_EMIT message(
                int(LogLevel::warning),
                tr("The statistics are not kept: %1").arg(QString::fromStdString(done->problem)));
        } else if (!done.error().cancelled()) {
          say_failure(this, done.error());
        }
        Q_EMIT statisticsChanged();
      }));
}

bool Workbench::quantizing() const { return impl_->quantizing; }
const std::vector<ModuleResult>& Workbench::moduleResults() const { return impl_->module_results; }
const QuantizeSummary* Workbench::summary() const {
  return impl_->summary ? &*impl_->summary : nullptr;
}
CheckpointPtr Workbench::quantized() const { return impl_->run ? impl_->run->checkpoint : nullptr; }
QString Workbench::resultFolder() const { return impl_->run ? impl_->run->folder : QString(); }
bool Workbench::resultStale() const {
  if (!impl_->run)
    return false;
  Recipe now = impl_->recipe;
  if (!impl_->run->recipe.calibration_files.empty())
    now.calibration_files = calibrationFiles(); // a result names the text that it was made with
  return !(impl_->run->recipe == now);
}

void Workbench::startQuantize() {
  const auto model = impl_->checkpoint;
  if (!model || !impl_->plan || impl_->quantizing)
    return;
  impl_->quantizing = true;
  impl_->module_results.clear();
  impl_->summary.reset();
  impl_->run.reset();
  impl_->compare.reset();
  impl_->touch();
  Q_EMIT quantizeStarted();
  Q_EMIT resultsChanged();
  Q_EMIT contendersChanged();
  Q_EMIT compareChanged();
  auto resolved = std::make_shared<Plan>(*impl_->plan);
  if (calibrates(*resolved))
    resolved->recipe = calibrationRecipe(); // so that the result names the text it was made with
  const std::shared_ptr<const Plan> plan = std::move(resolved);
  impl_->engine.run<FinishedRun>(
      QStringLiteral("quantize"), tr("Quantize %1").arg(QString::fromStdString(model->name)), this,
      [this, model, plan, statistics = impl_->statistics, folder = impl_->freshFolder({})](
          Feedback& feedback, Compute& compute) -> Result<FinishedRun> {
        QDir().mkpath(QFileInfo(folder).absolutePath());
        QuantizeOptions options;
        CalibrationSet set;
        if (calibrates(*plan)) {
          feedback.set_step("tokenizing");
          const Recipe& recipe = plan->recipe;
          TRY_ASSIGN(set, draw_calibration(*model, recipe.calibration_files, recipe.samples,
                                           recipe.length, recipe.calibration_seed));
          options.samples = &set.samples;
        }
        options.result_folder = folder.toStdString();
        options.statistics = statistics.get();
        // The engine joins this thread before Impl goes away, so `this` holds.
        options.on_module = [this](const ModuleResult& result) {
          const std::lock_guard lock(impl_->incoming_mutex);
          impl_->incoming.push_back(result);
        };
        FinishedRun run;
        TRY_ASSIGN(run.summary, run_quantize(*model, *plan, compute, options, feedback));
        run.summary.notes.insert(run.summary.notes.end(), set.notes.begin(), set.notes.end());
        TRY_ASSIGN(run.checkpoint, open_checkpoint(options.result_folder));
        run.recipe = plan->recipe;
        run.folder = folder;
        return run;
      },
      impl_->whileOpen<FinishedRun>([this](Result<FinishedRun> done) {
        impl_->drain();
        impl_->quantizing = false;
        if (done) {
          impl_->run = std::make_shared<FinishedRun>(std::move(*done));
          impl_->summary = impl_->run->summary;
          impl_->module_results = impl_->run->summary.modules;
          impl_->addVariant(*impl_->run);
          impl_->touch();
          Q_EMIT variantsChanged();
          for (const auto& note : impl_->summary->notes)
            Q_EMIT message(int(LogLevel::warning), QString::fromStdString(note));
        } else {
          impl_->module_results.clear();
          if (!done.error().cancelled())
            say_failure(this, done.error());
        }
        Q_EMIT resultsChanged();
        Q_EMIT contendersChanged();
      }));
}

void Workbench::Impl::drain() {
  std::vector<ModuleResult> finished;
  std::optional<CompareReport> figures;
  std::vector<SessionVariant> measured;
  {
    const std::lock_guard lock(incoming_mutex);
    finished.swap(incoming);
    figures.swap(incoming_compare);
    measured.swap(incoming_variants);
    if (comparing && incoming_judged.is_object()) {
      stages[judged_key] = std::move(incoming_judged);
      incoming_judged = nullptr;
    }
  }
  if (!measured.empty() && measuring_variants) {
    for (SessionVariant& variant : measured)
      takeVariant(std::move(variant));
    touch();
    Q_EMIT owner->variantsChanged();
  }
  if (!finished.empty() && quantizing) {
    module_results.insert(module_results.end(), std::make_move_iterator(finished.begin()),
                          std::make_move_iterator(finished.end()));
    Q_EMIT owner->moduleFinished(int(module_results.size()) - 1);
  }
  if (figures && comparing) {
    compare = std::move(figures);
    Q_EMIT owner->compareChanged();
  }
}

QList<Contender> Workbench::contenders() const {
  QList<Contender> list;
  if (impl_->checkpoint)
    list.append({tr("original"), impl_->checkpoint});
  if (impl_->run) {
    const int current = currentVariant();
    const QString title = current >= 0
                              ? QString::fromStdString(impl_->variants[std::size_t(current)].title)
                              : recipeTitle(impl_->run->recipe);
    list.append({title, impl_->run->checkpoint});
  }
  for (Contender other : impl_->extra) {
    for (const SessionVariant& variant : impl_->variants)
      if (!variant.result.empty() && fs::path(variant.result) == other.checkpoint->path)
        other.title = QString::fromStdString(variant.title);
    list.append(other);
  }
  return list;
}

void Workbench::addContender(const QString& path) {
  const QString where = QFileInfo(path).absoluteFilePath();
  impl_->engine.run<CheckpointPtr>(
      QStringLiteral("contender:") + where, tr("Opening %1").arg(QFileInfo(where).fileName()), this,
      [where](Feedback&, Compute&) { return open_checkpoint(where.toStdString()); },
      impl_->whileOpen<CheckpointPtr>([this](Result<CheckpointPtr> added) {
        if (added) {
          impl_->extra.append({QString::fromStdString((*added)->name), *added});
          impl_->touch();
          Q_EMIT contendersChanged();
        } else if (!added.error().cancelled()) {
          say_failure(this, added.error());
        }
      }));
}

void Workbench::removeContender(int index) {
  const qsizetype at = index - (contenders().size() - impl_->extra.size());
  if (at < 0 || at >= impl_->extra.size())
    return; // the original and the result belong to the window
  impl_->extra.removeAt(at);
  impl_->touch();
  Q_EMIT contendersChanged();
}

const CheckpointPtr& Workbench::second() const { return impl_->second; }

void Workbench::openSecond(const QString& path) {
  if (!impl_->checkpoint)
    return;
  struct Second {
    CheckpointPtr checkpoint;
    std::shared_ptr<const ModuleMatcher> matcher;
  };
  const QString where = QFileInfo(path).absoluteFilePath();
  impl_->engine.run<Second>(
      QStringLiteral("second"), tr("Opening %1").arg(QFileInfo(where).fileName()), this,
      [where, first = impl_->checkpoint](Feedback&, Compute&) -> Result<Second> {
        Second out;
        TRY_ASSIGN(out.checkpoint, open_checkpoint(where.toStdString()));
        out.matcher = std::make_shared<const ModuleMatcher>(*first, *out.checkpoint);
        return out;
      },
      impl_->whileOpen<Second>([this](Result<Second> opened_second) {
        if (!opened_second) {
          if (!opened_second.error().cancelled())
            say_failure(this, opened_second.error());
          return;
        }
        impl_->second = std::move(opened_second->checkpoint);
        impl_->matcher = std::move(opened_second->matcher);
        impl_->touch();
        Q_EMIT secondChanged();
        for (const auto& note : impl_->second->notes)
          Q_EMIT message(int(LogLevel::info), QString::fromStdString(note));
        const auto left = impl_->matcher->left_over().size();
        if (left == impl_->second->modules.size())
          Q_EMIT message(int(LogLevel::warning),
                         tr("No module of %1 corresponds to one of %2.")
                             .arg(QString::fromStdString(impl_->second->name),
                                  QString::fromStdString(impl_->checkpoint->name)));
        else if (left > 0)
          Q_EMIT message(int(LogLevel::info),
                         tr("%n modules of the second checkpoint correspond to none of the first",
                            nullptr, int(left)));
      }));
}

void Workbench::closeSecond() {
  if (!impl_->second)
    return;
  impl_->second.reset();
  impl_->matcher.reset();
  impl_->touch();
  Q_EMIT secondChanged();
}

const Module* Workbench::secondModule(const QString& module) const {
  const Module* first =
      impl_->matcher ? impl_->checkpoint->find_module(module.toStdString()) : nullptr;
  return first ? impl_->matcher->find(*first) : nullptr;
}

const CompareReport* Workbench::compareReport() const {
  return impl_->compare ? &*impl_->compare : nullptr;
}
bool Workbench::comparing() const { return impl_->comparing; }

void Workbench::startCompare(const QString& text, qint64 context, qint64 chunks) {
  runCompare(
      [text = text.toStdString(), context, chunks](const Checkpoint& source) -> Result<JudgedFile> {
        JudgedFile judged;
        judged.source.content = content_hash(text);
        TRY_ASSIGN(judged.text, make_eval_text(source, text, context, chunks));
        return judged;
      });
}

void Workbench::startCompare(std::shared_ptr<const JudgedFile> judged) {
  runCompare([judged](const Checkpoint&) -> Result<JudgedFile> { return *judged; });
}

void Workbench::runCompare(std::function<Result<JudgedFile>(const Checkpoint&)> read) {
  const auto sides = contenders();
  if (sides.isEmpty() || impl_->comparing)
    return;
  impl_->comparing = true;
  impl_->compare.reset();
  Q_EMIT compareChanged();
  impl_->stages.erase(judged_key);
  impl_->engine.run<CompareReport>(
      QStringLiteral("compare"), tr("Perplexity and KL divergence"), this,
      [this, sides, read](Feedback& feedback, Compute& compute) -> Result<CompareReport> {
        const auto& source = sides.first().checkpoint;
        feedback.set_step("tokenizing");
        TRY_ASSIGN(const JudgedFile judged, read(*source));
        {
          const std::lock_guard lock(impl_->incoming_mutex);
          impl_->incoming_judged = judged_to_json(judged);
        }
        feedback.set_step("loading");
        EngineOptions options, rounded_options; // models that do not fit take turns
        options.residency = rounded_options.residency = default_residency(compute);
        TRY_ASSIGN(const auto reference, Engine::create(source, compute, options));
        rounded_options.round_weights_to_f16 = true;
        TRY_ASSIGN(const auto rounded, Engine::create(source, compute, rounded_options));
        std::vector<std::unique_ptr<Engine>> engines;
        std::vector<Engine*> candidates;
        std::vector<std::string> skipped;
        std::vector<qsizetype> measured; // which contender each candidate is
        for (qsizetype i = 1; i < sides.size(); ++i) {
          auto engine = Engine::create(sides[i].checkpoint, compute, options);
          if (!engine) { // one that cannot run must not keep the others from being measured
            skipped.push_back("Not measured: " + sides[i].title.toStdString() + ": " +
                              engine.error().text());
            continue;
          }
          candidates.push_back(engine->get());
          engines.push_back(std::move(*engine));
          measured.push_back(i);
        }
        feedback.set_step("comparing");
        TRY_ASSIGN(auto report, compare(*reference, candidates, rounded.get(), judged.text,
                                        feedback, [this](const CompareReport& running) {
                                          const std::lock_guard lock(impl_->incoming_mutex);
                                          impl_->incoming_compare = running;
                                        }));
        report.notes.insert(report.notes.end(), skipped.begin(), skipped.end());
        report.notes.insert(report.notes.end(), judged.notes.begin(), judged.notes.end());
        for (std::size_t m = 0; m < report.models.size() && m < measured.size(); ++m) {
          const Contender& side = sides[measured[m]];
          for (auto& note : overlap_notes(side.checkpoint->path, judged, side.title.toStdString()))
            report.models[m].notes.push_back(std::move(note));
        }
        return report;
      },
      impl_->whileOpen<CompareReport>([this](Result<CompareReport> done) {
        impl_->drain();
        impl_->comparing = false;
        if (done) {
          impl_->compare = std::move(*done);
          impl_->takeFigures();
          impl_->touch();
        } else if (!done.error().cancelled()) {
          impl_->compare.reset();
          say_failure(this, done.error());
        }
        Q_EMIT compareChanged();
        if (impl_->compare)
          Q_EMIT variantsChanged();
      }));
}

const QList<ExportOutcome>& Workbench::exports() const { return impl_->exports; }

void Workbench::startExport(const QString& format, const QString& folder, const ExportWish& wish) {
  const auto model = quantized() ? quantized() : impl_->checkpoint;
  const Exporter* exporter = find_exporter(format.toStdString());
  if (!model || !exporter) {
    Q_EMIT exportFinished({}, model ? tr("There is no export format \"%1\"").arg(format)
                                    : tr("Open a checkpoint first"));
    return;
  }
  ExportOptions options;
  options.folder = folder.toStdString();
  options.name = impl_->checkpoint->name;
  options.replace = wish.replace;
  options.accept_warnings = wish.accept_warnings;
  options.runtime = wish.runtime.toStdString();
  options.shard_limit = wish.shard_limit;
  if (impl_->run && find_mix(impl_->run->recipe.default_scheme))
    options.label = impl_->run->recipe.default_scheme;
  impl_->engine.run<ExportOutcome>(
      QStringLiteral("export"), tr("Export to %1").arg(format), this,
      [model, exporter, options](Feedback& feedback, Compute&) {
        return run_export(*model, *exporter, options, feedback);
      },
      impl_->whileOpen<ExportOutcome>([this](Result<ExportOutcome> done) {
        if (!done) {
          Q_EMIT exportFinished({}, QString::fromStdString(done.error().text()));
          return;
        }
        impl_->exports.append(*done);
        impl_->touch();
        Q_EMIT exportFinished(QString::fromStdString(done->path.string()), {});
      }));
}

} // namespace bitlathe::gui
