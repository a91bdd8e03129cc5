// SPDX-License-Identifier: GPL-3.0-or-later
// The parts of Workbench, shared by its source files.
#pragma once

#include "app/gui/workbench.h"
#include "core/eval/weight_compare.h"

#include <map>
#include <mutex>

namespace bitlathe::gui {

using CheckpointPtr = std::shared_ptr<const Checkpoint>;
using StatisticsPtr = std::shared_ptr<const ActivationStatistics>;

/// A finished quantization as the window keeps it.
struct FinishedRun {
  Recipe recipe;
  QuantizeSummary summary;
  CheckpointPtr checkpoint;
  QString folder;
};

/// Key of judged_to_json() among the stages' states.
const QString judged_key = QStringLiteral("judged");

/// "int4-g128-asym rtn + 2 rules".
QString recipeTitle(const Recipe& recipe);
/// Reads and opens a kept result.
Result<FinishedRun> openRun(const QString& folder);

/// What a session file holds, read and opened on the engine's thread.
struct OpenedThing {
  CheckpointPtr checkpoint;
  QString session_path; ///< empty: a checkpoint was opened
  Recipe recipe;
  std::shared_ptr<FinishedRun> run;
  StatisticsPtr statistics;
  QString statistics_path;
  QStringList selection;
  QList<Contender> extra;
  CheckpointPtr second;
  std::shared_ptr<const ModuleMatcher> matcher;
  std::shared_ptr<CompareReport> compare;
  std::vector<SessionVariant> variants;
  std::map<QString, Json> stages;
  std::vector<std::string> notes;
};

struct Workbench::Impl {
  explicit Impl(Workbench* o) : owner(o) {}

  Workbench* owner;
  QUndoStack undo;
  CheckpointPtr checkpoint;
  Recipe recipe;
  std::optional<Plan> plan;
  QString plan_error;
  bool requantize = false;
  QStringList selection;

  StatisticsPtr statistics;
  QString statistics_path;
  bool calibrating = false;

  bool quantizing = false;
  std::vector<ModuleResult> module_results;
  std::optional<QuantizeSummary> summary;
  std::shared_ptr<FinishedRun> run;
  std::mutex incoming_mutex;
  std::vector<ModuleResult> incoming; ///< from the job's thread, under incoming_mutex

  QList<Contender> extra;
  CheckpointPtr second;
  std::shared_ptr<const ModuleMatcher> matcher; ///< of the first's modules to the second's
  std::optional<CompareReport> compare;
  std::optional<CompareReport> incoming_compare; ///< under incoming_mutex
  Json incoming_judged;                          ///< what that is measured on, likewise
  bool comparing = false;
  std::vector<SessionVariant> variants;
  std::vector<SessionVariant> incoming_variants; ///< measured ones, under incoming_mutex
  bool measuring_variants = false;
  QList<ExportOutcome> exports;

  QString session_path;
  std::map<QString, Json> stages;
  bool dirty = false; ///< something besides the recipe changed since the last save

  /// Last, so that its thread is joined before anything its jobs refer to goes away.
  EngineThread engine;

  void applyRecipe(const Recipe& next);
  void replan();
  void drain(); ///< hands over what the job's thread has left
  void reset();
  void adopt(OpenedThing thing);
  void touch();
  /// `then` only runs while the same checkpoint is still open.
  template <class T> std::function<void(Result<T>)> whileOpen(std::function<void(Result<T>)> then) {
    return [this, for_checkpoint = checkpoint, then = std::move(then)](Result<T> result) {
      if (checkpoint == for_checkpoint)
        then(std::move(result));
    };
  }
  QString freshFolder(const QString& suffix) const;
  void addVariant(const FinishedRun& finished);
  /// Puts a measured one where it was, or at the end.
  void takeVariant(SessionVariant measured);
  /// Gives figures of the comparison to the variants they concern.
  void takeFigures();
};

/// Opens a session file or a checkpoint; called on the engine's thread.
Result<OpenedThing> openThing(const QString& path, Feedback& feedback);

} // namespace bitlathe::gui
