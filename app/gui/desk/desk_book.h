// SPDX-License-Identifier: GPL-3.0-or-later
// The desks of a session, one object per workbench: every vote goes into the session at once.
#pragma once

#include "app/gui/workbench.h"
#include "core/judge/desk.h"

#include <QObject>

namespace bitlathe::gui {

class DeskBook : public QObject {
  Q_OBJECT
 public:
  /// The one of this workbench; made on first use.
  static DeskBook* of(Workbench& workbench);

  /// What the session's transcripts give, read anew.
  DeskMaterial material() const;
  const std::vector<Desk>& desks() const { return desks_; }
  const Desk* current() const { return desks_.empty() ? nullptr : &desks_.back(); }
  void add(Desk desk);
  /// Puts an earlier desk last, so that it is the current one.
  void choose(std::size_t index);
  void remove(std::size_t index);
  /// Changes the current desk and keeps it in the session.
  void change(const std::function<void(Desk&)>& edit);
  /// The checkpoint that models are compared with first; for which model is the reference.
  const std::shared_ptr<const Checkpoint>& checkpoint() const { return workbench_.checkpoint(); }
  QList<Contender> contenders() const { return workbench_.contenders(); }
  /// For the log.
  void say(int level, const QString& text) { Q_EMIT workbench_.message(level, text); }

 Q_SIGNALS:
  void changed();  ///< votes too
  void reopened(); ///< another session

 private:
  explicit DeskBook(Workbench& workbench);
  void restore();
  void keep();

  Workbench& workbench_;
  std::vector<Desk> desks_;
};

} // namespace bitlathe::gui
