// SPDX-License-Identifier: GPL-3.0-or-later
// The selection in detail: what it is, what the plan does to it and why, its statistics, and the
// controls that change it. A second tab tells about the checkpoint as a whole.
#pragma once

#include <QWidget>

class QLabel;
class QPushButton;
class QTableView;
class QTabWidget;

namespace bitlathe::gui {

class CheckpointPanel;
class StatisticsModel;
class Workbench;

class DetailsPanel : public QWidget {
  Q_OBJECT
 public:
  explicit DetailsPanel(Workbench& workbench, QWidget* parent = nullptr);
  void showCheckpoint(bool whole); ///< which tab
  CheckpointPanel& checkpointPanel() { return *checkpoint_; }

 private:
  void refresh();
  void showStatistics();
  void showSecond();

  Workbench& workbench_;
  QLabel *title_, *facts_, *reason_, *sizes_, *figures_, *second_;
  QWidget* chips_;
  QPushButton *precision_, *method_, *exclude_;
  StatisticsModel* statistics_;
  QTableView* table_;
  QTabWidget* tabs_;
  CheckpointPanel* checkpoint_;
};

} // namespace bitlathe::gui
