// SPDX-License-Identifier: GPL-3.0-or-later
// A second calibration set beside the first: its activation statistics and how far every layer's
// inputs differ from the first set's. Collected and compared on the engine's thread, kept with the
// session. One object per workbench.
#pragma once

#include "app/gui/workbench.h"
#include "core/calib/compare.h"

#include <map>

namespace bitlathe::gui {

class SecondSet : public QObject {
  Q_OBJECT
 public:
  /// The one that belongs to this Workbench.
  static SecondSet& of(Workbench& workbench);

  /// Runs a set of as many and as long samples as the recipe's through the model.
  void collect(const std::vector<CalibrationFile>& files, qint64 seed, const QString& title);
  /// Statistics of any kind that core reads; without a title the file's name.
  void read(const QString& path, const QString& title = {});
  void drop();

  std::shared_ptr<const ActivationStatistics> statistics() const { return statistics_; }
  const QString& title() const { return title_; } ///< "other.jsonl, part evaluation"
  bool collecting() const { return collecting_; }
  /// By module; empty until there are two sets. Layers that only one set has are left out.
  const std::map<QString, ActivationDifference>& differences() const { return differences_; }
  const ActivationDifference* difference(const QString& module) const;
  const QStringList& notes() const { return notes_; } ///< text that both hold, what was not used

 Q_SIGNALS:
  void changed();

 private:
  explicit SecondSet(Workbench& workbench);
  struct Collected {
    std::shared_ptr<const ActivationStatistics> statistics;
    QString path;
    QStringList notes;
  };
  void run(const QString& title, const QString& job,
           std::function<Result<Collected>(Feedback&, Compute&)> work);
  void restore();
  void compare();
  void keep();

  Workbench& workbench_;
  std::shared_ptr<const ActivationStatistics> statistics_;
  QString title_, path_; ///< path: of the kept file
  QStringList notes_;
  std::map<QString, ActivationDifference> differences_;
  bool collecting_ = false;
};

/// What a session keeps of it, and where: Workbench leaves the file alone when it cleans up.
QString secondSetKey();

} // namespace bitlathe::gui
