// SPDX-License-Identifier: GPL-3.0-or-later
// What flows into the shown layer: the histogram of its inputs, a second calibration set's over it,
// and how far the two are apart in every layer.
#pragma once

#include "app/gui/widgets/card.h"
#include "app/gui/workbench.h"

class QPushButton;
class QSortFilterProxyModel;
class QStackedWidget;
class QTableView;
class QToolButton;

namespace bitlathe::gui {

class EmptyState;
class HistogramView;
class SetDifferences;

class ActivationsCard : public Card {
  Q_OBJECT
 public:
  explicit ActivationsCard(Workbench& workbench, QWidget* parent = nullptr);
  void showModule(const QString& module);
  HistogramView& histogram() { return *view_; }
  QTableView* differences() { return table_; }

 private:
  void refresh();
  void refreshSecond();
  void showNone();
  void fillMenu();
  void chooseTexts();
  void chooseStatistics();
  void selectRow();

  Workbench& workbench_;
  QString shown_, note_;
  QStackedWidget* pages_;
  EmptyState* empty_;
  HistogramView* view_;
  QToolButton* second_;
  QPushButton* list_;
  SetDifferences* model_;
  QSortFilterProxyModel* sorted_;
  QTableView* table_;
  bool selecting_ = false;
};

/// A small checkable button for the head of a card.
QPushButton* makeChip(const QString& text, const QString& tooltip, QWidget* parent);
QToolButton* makeResetButton(const QString& what, QWidget* parent);

} // namespace bitlathe::gui
