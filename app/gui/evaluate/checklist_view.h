// SPDX-License-Identifier: GPL-3.0-or-later
// The checklist as a grid of ticks; what is open tells how to do it.
#pragma once

#include "app/gui/evaluate/checklist.h"

#include <QWidget>

class QGridLayout;

namespace bitlathe::gui {

class ChecklistView : public QWidget {
  Q_OBJECT
 public:
  explicit ChecklistView(QWidget* parent = nullptr);
  void set(const QList<CheckItem>& items);
  int doneCount() const;
  int count() const { return int(items_.size()); }

 private:
  QList<CheckItem> items_;
  QGridLayout* grid_;
  QList<QWidget*> cells_;
};

} // namespace bitlathe::gui
