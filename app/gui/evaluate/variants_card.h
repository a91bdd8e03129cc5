// SPDX-License-Identifier: GPL-3.0-or-later
// The variants of the session: their figures, and what can be done with each.
#pragma once

#include "app/gui/widgets/card.h"
#include "app/gui/workbench.h"

class QLabel;
class QPushButton;
class QSortFilterProxyModel;
class QTableView;

namespace bitlathe::gui {

class VariantsModel;

class VariantsCard : public Card {
  Q_OBJECT
 public:
  explicit VariantsCard(Workbench& workbench, QWidget* parent = nullptr);
  QTableView* table() const { return table_; }
  /// The chosen variant; -1: none.
  int chosen() const;
  void choose(int variant);

 private:
  void refresh();
  void refreshButtons();
  void rename();
  void remove();
  void compare();

  Workbench& workbench_;
  VariantsModel* model_;
  QSortFilterProxyModel* sorted_;
  QTableView* table_;
  QLabel* empty_;
  QPushButton *load_, *current_, *compare_, *rename_, *remove_;
};

} // namespace bitlathe::gui
