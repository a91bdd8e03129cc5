// SPDX-License-Identifier: GPL-3.0-or-later
// The report on what the window holds now, written beside the window's work. One object per
// workbench.
#pragma once

#include "app/gui/workbench.h"

#include <QObject>

namespace bitlathe::gui {

class SessionReport : public QObject {
  Q_OBJECT
 public:
  /// The one that belongs to this Workbench.
  static SessionReport& of(Workbench& workbench);

  /// To a .html page or a .pdf; ends with written() or failed().
  void write(const QString& path);
  /// Asks where to first. `ending`: "html" or "pdf", what is offered.
  void ask(const QString& ending, QWidget* parent);
  bool busy() const { return busy_; }
  const QString& lastPath() const { return last_; } ///< empty: none for this checkpoint

 Q_SIGNALS:
  void changed(); ///< busy() or lastPath()
  void written(const QString& path);
  void failed(const QString& message);

 private:
  explicit SessionReport(Workbench& workbench);
  Workbench& workbench_;
  bool busy_ = false;
  QString last_;
};

} // namespace bitlathe::gui
