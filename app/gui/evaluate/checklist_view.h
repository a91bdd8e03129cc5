// SPDX-License-Identifier: GPL-3.0-or-later
// The checklist as a grid of ticks; a click on one goes to where it is done.
#pragma once

#include "core/judge/checklist.h"

#include <QList>
#include <QWidget>

class QGridLayout;

namespace bitlathe::gui {

class ChecklistView : public QWidget {
  Q_OBJECT
 public:
  explicit ChecklistView(QWidget* parent = nullptr);
  void set(const std::vector<ChecklistItem>& items);
  int doneCount() const;
  int count() const { return int(items_.size()); }
  /// Shows the place of an item in the window that this stands in.
  void go(const QString& id);

 Q_SIGNALS:
  void chosen(const QString& id);

 private:
  std::vector<ChecklistItem> items_;
  QGridLayout* grid_;
  QList<QWidget*> cells_;
};

} // namespace bitlathe::gui
