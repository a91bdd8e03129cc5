// SPDX-License-Identifier: GPL-3.0-or-later
// The selection in detail: what it is, what the plan does to it and why, its statistics, and the
// controls that change it.
#pragma once

#include <QWidget>

class QLabel;
class QPushButton;
class QTableView;

namespace bitlathe::gui {

class StatisticsModel;
class Workbench;

class DetailsPanel : public QWidget {
  Q_OBJECT
 public:
  explicit DetailsPanel(Workbench& workbench, QWidget* parent = nullptr);

 private:
  void refresh();
  void showStatistics();

  Workbench& workbench_;
  QLabel *title_, *facts_, *reason_, *sizes_, *figures_;
  QWidget* chips_;
  QPushButton *precision_, *method_, *exclude_;
  StatisticsModel* statistics_;
  QTableView* table_;
};

} // namespace bitlathe::gui
