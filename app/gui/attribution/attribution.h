// SPDX-License-Identifier: GPL-3.0-or-later
// What every module costs, as far as it is known: the report, the job that measures it, and its
// place in the session. One object per workbench.
#pragma once

#include "app/gui/workbench.h"
#include "core/eval/attribute.h"

#include <mutex>

namespace bitlathe::gui {

class Attribution : public QObject {
  Q_OBJECT
 public:
  /// The one that belongs to this Workbench.
  static Attribution& of(Workbench& workbench);

  struct Wish {
    QString candidate; ///< title of a contender; empty: none, only curves
    bool alone = true, without = false;
    double share = 1; ///< of modules that are measured; the others are predicted
    QStringList schemes;
    QString method = QStringLiteral("rtn");
  };

  using Report = std::shared_ptr<const AttributionReport>;
  /// nullptr when nothing is known yet.
  const Report& report() const { return report_; }
  bool running() const { return running_; }
  JobStatus job() const;
  const QString& problem() const { return problem_; } ///< of the last run
  /// Contenders that modules can be taken from: all but the original.
  QStringList candidates() const;
  /// The candidate that the rows are of is no longer what it was.
  bool stale() const;

  /// Measures what is not known yet.
  void measure(const Wish& wish);
  /// Quantizes what the recipe says now, then measures what that changed.
  void quantizeAndMeasure(const Wish& wish);
  void stop();

  /// Gives the modules of a row the next finer scheme, each by its own plan, or leaves them as they
  /// are in the original: one undoable step.
  void raise(const QStringList& modules);
  /// What raise() would do, for people; empty when nothing can be done.
  QString raiseText(const QStringList& modules) const;

 Q_SIGNALS:
  void changed(); ///< the report, running figures too, or whether it runs

 private:
  explicit Attribution(Workbench& workbench);
  void restore();
  void drain();
  void finished(Result<AttributionReport> outcome);
  void keep();
  void quantizeDone();

  Workbench& workbench_;
  Report report_;
  Wish wish_;
  QString problem_;
  bool running_ = false;
  bool after_quantizing_ = false; ///< measure when the run that was started is over
  std::mutex mutex_;
  std::shared_ptr<const AttributionReport> incoming_; ///< from the job's thread, under mutex_
};

} // namespace bitlathe::gui
