// SPDX-License-Identifier: GPL-3.0-or-later
// The state of one window: checkpoint, recipe with undo, plan, statistics, results, comparisons,
// exports. Widgets hold no business state; they observe this object. GUI thread only.
#pragma once

#include "app/gui/engine_thread.h"
#include "core/calib/statistics.h"
#include "core/eval/judged_text.h"
#include "core/export/exporter.h"
#include "core/job/quantize.h"
#include "core/job/result_store.h"
#include "core/session/session.h"

#include <QObject>
#include <QStringList>
#include <QUndoStack>

namespace bitlathe::gui {

/// The model shipped with the program: beside the installed program, else in the source tree.
/// Empty when neither is there.
QString demoModelPath();

/// One side of a comparison.
struct Contender {
  QString title; ///< "original", "int4-g128-asym rtn"
  std::shared_ptr<const Checkpoint> checkpoint;
};

class Workbench : public QObject {
  Q_OBJECT
 public:
  explicit Workbench(QObject* parent = nullptr);
  ~Workbench() override;

  EngineThread& engine();
  QUndoStack& undoStack();

  /// Opens a checkpoint or a session file (*.bitlathe), told apart by content; drops what belonged
  /// to the old one. Reports through opened() or openFailed().
  void open(const QString& path);
  const std::shared_ptr<const Checkpoint>& checkpoint() const;

  const Recipe& recipe() const;
  /// Changes the recipe as one undoable step named `what`; the plan follows at once.
  void setRecipe(const Recipe& recipe, const QString& what);
  /// Sets scheme and/or method (empty: leave) for exactly these modules by adding or replacing
  /// their own rules.
  void setModules(const QStringList& modules, const QString& scheme, const QString& method);
  /// Excludes or includes exactly these modules.
  void setExcluded(const QStringList& modules, bool excluded);
  /// Takes back what was set for exactly these modules: their own rules and exclusions.
  void resetModules(const QStringList& modules);
  const Plan* plan() const;       ///< nullptr when there is none
  QString planError() const;      ///< why not
  bool requantizeAllowed() const; ///< an already quantized source may be quantized again
  void setRequantizeAllowed(bool allowed);

  /// The shared selection: module names; the first is the current one.
  const QStringList& selection() const;
  QString current() const;
  void select(const QStringList& modules);

  /// What calibration reads: the recipe's files, else the folder's calibration.txt, else the
  /// demo's text.
  std::vector<CalibrationFile> calibrationFiles() const;
  void startCalibration();
  bool calibrating() const;
  std::shared_ptr<const ActivationStatistics> statistics() const;

  void startQuantize();
  bool quantizing() const;
  /// Results so far (grows while the job runs), by module order of the plan.
  const std::vector<ModuleResult>& moduleResults() const;
  const QuantizeSummary* summary() const; ///< set when a run finished
  /// The kept result of the last finished run, opened; nullptr before.
  std::shared_ptr<const Checkpoint> quantized() const;
  QString resultFolder() const;
  /// The recipe changed since the result was made.
  bool resultStale() const;

  /// Every finished quantization of this checkpoint, oldest first; what was measured last of each.
  const std::vector<SessionVariant>& variants() const;
  int currentVariant() const;         ///< whose result is the current one; -1: none
  bool variantKept(int index) const;  ///< its kept result is still there
  void loadVariantRecipe(int index);  ///< one undoable step
  void makeVariantCurrent(int index); ///< opens its kept result
  void renameVariant(int index, const QString& title);
  /// `clean` removes its kept result as well, if that lies in keptFolder().
  void removeVariant(int index, bool clean);
  /// Measures variants whose results are kept against the original, one after the other; then makes
  /// and measures baselines: one scheme everywhere, by rtn. Figures arrive one by one and are kept
  /// when it is stopped; results of baselines are removed once they are measured.
  void startVariants(std::shared_ptr<const JudgedFile> judged, const QList<int>& variants,
                     const QStringList& baselines);
  bool measuringVariants() const;
  static QString variantsTag(); ///< of that job

  /// Original first, then the kept result, then what was added by addContender.
  QList<Contender> contenders() const;
  void addContender(const QString& path); ///< opens another checkpoint to compare with
  void removeContender(int index);

  /// A second checkpoint to look at beside the first, whatever its format: someone else's
  /// quantization, or the original of this one. nullptr when there is none.
  const std::shared_ptr<const Checkpoint>& second() const;
  void openSecond(const QString& path); ///< reports through secondChanged() or message()
  void closeSecond();
  /// Its module that corresponds to one of the first; nullptr when there is none.
  const Module* secondModule(const QString& module) const;

  const CompareReport* compareReport() const;
  void startCompare(const QString& text, qint64 context,
                    qint64 chunks); ///< text: content, not a path
  /// On a text that was read for the first contender's tokenizer; notes where a contender was
  /// calibrated on it go into the report.
  void startCompare(std::shared_ptr<const JudgedFile> judged);
  bool comparing() const;
  /// What compareReport() was measured on (judged_on); empty: not known.
  QString judgedOn() const;
  /// The same as judged_to_json() has it; null when it is not known.
  Json judgedText() const;

  /// How an export is wished, beside its format and place.
  struct ExportWish {
    bool replace = false; ///< what is in the folder
    bool accept_warnings = false;
    QString runtime; ///< the one reader it is meant for; empty: any
    quint64 shard_limit = 5ull << 30;
  };
  void startExport(const QString& format, const QString& folder, const ExportWish& wish);
  const QList<ExportOutcome>& exports() const;

  // Sessions: JSON with the checkpoint's path, recipe, result folder, selection, prompts and
  // figures.
  QString sessionPath() const;
  Session session() const; ///< as it would be saved now; paths are absolute
  bool saveSession(const QString& path, QString* error);
  bool modified() const;
  /// Asks the window to show the Compare stage with this prompt.
  void offerPrompt(const QString& prompt) { Q_EMIT promptOffered(prompt); }
  /// What a stage wants kept in the session (prompts, votes, notes); null when there is nothing.
  Json stageState(const QString& stage) const;
  void setStageState(const QString& stage, const Json& state);
  /// Where results and statistics are kept until they are cleaned up, and what they take.
  static QString keptFolder();
  static void setKeptFolder(const QString& folder); ///< for tests and pictures
  /// Removes every kept result except the ones this window uses; returns the bytes freed.
  void cleanKept();

 Q_SIGNALS:
  void opening(const QString& path);
  void opened();
  void openFailed(const QString& message);
  void recipeChanged();
  void planChanged();
  void selectionChanged();
  void statisticsChanged();
  void quantizeStarted();
  void moduleFinished(int index); ///< index into moduleResults(); batched
  void resultsChanged();          ///< run finished, failed, cancelled, or results dropped
  void contendersChanged();
  void variantsChanged(); ///< entries, their figures, measuringVariants()
  void secondChanged();
  void compareChanged();                                          ///< running figures too
  void exportFinished(const QString& path, const QString& error); ///< error empty on success
  void modifiedChanged();
  void promptOffered(const QString& prompt);
  void message(int level, const QString& text); ///< LogLevel; for the status line and the log

 private:
  Recipe calibrationRecipe();
  void runCompare(std::function<Result<JudgedFile>(const Checkpoint&)> read);
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

} // namespace bitlathe::gui
