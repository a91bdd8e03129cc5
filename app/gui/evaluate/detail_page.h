// SPDX-License-Identifier: GPL-3.0-or-later
// All figures of a comparison, and where in the text they come from: by place in the window, by
// kind of token, and the worst tokens in their text.
#pragma once

#include <QWidget>

class QComboBox;
class QTableView;

namespace bitlathe::gui {

class BreakdownChart;
class Card;
class FigureListModel;
class WorstTokensCard;
class Workbench;

class DetailPage : public QWidget {
  Q_OBJECT
 public:
  explicit DetailPage(Workbench& workbench, QWidget* parent = nullptr);
  WorstTokensCard* worst() const { return worst_; }
  BreakdownChart* breakdown() const { return breakdown_; }
  QTableView* figures() const { return figures_; }
  void setBreakdown(int which); ///< 0: by place in the window, 1: by kind of token

 private:
  void refresh();
  void showCandidate();

  Workbench& workbench_;
  FigureListModel* list_;
  QTableView* figures_;
  Card *figuresCard_, *breakdownCard_;
  BreakdownChart* breakdown_;
  QComboBox *candidate_, *parts_;
  WorstTokensCard* worst_;
};

} // namespace bitlathe::gui
