// SPDX-License-Identifier: GPL-3.0-or-later
// Tasks with a known answer, run on every contender: figures with intervals, and the items where
// models differ, with what each said.
#pragma once

#include "app/gui/workbench.h"
#include "core/eval/task_report.h"

#include <QWidget>

class QCheckBox;
class QComboBox;
class QLabel;
class QLineEdit;
class QProgressBar;
class QPushButton;
class QSpinBox;
class QStandardItemModel;
class QTableView;
class QTextBrowser;

namespace bitlathe::gui {

class Card;

class TasksPage : public QWidget {
  Q_OBJECT
 public:
  explicit TasksPage(Workbench& workbench, QWidget* parent = nullptr);
  ~TasksPage() override;
  void setFile(const QString& path);
  void setKind(const QString& id);
  void setShots(int shots);
  void run();
  bool running() const { return running_; }
  const TaskReport& report() const { return report_; }
  /// Items that not all models did equally well.
  QList<int> differences() const;
  void showFirstDifference();

 private:
  struct Incoming;
  QWidget* buildControls();
  QWidget* buildItems();
  void restore();
  void keep();
  void refresh();
  void refreshItems();
  void refreshButtons();
  void showItem();
  void drain();
  void stop();
  void askFile();
  void offer();

  Workbench& workbench_;
  std::shared_ptr<Incoming> incoming_;
  TaskReport report_;
  bool running_ = false;

  QLineEdit* file_;
  QComboBox* kind_;
  QSpinBox *shots_, *limit_;
  QCheckBox *chat_, *different_;
  QPushButton *run_, *stop_, *compare_;
  QProgressBar* bar_;
  Card *figuresCard_, *itemsCard_;
  QStandardItemModel *figures_, *items_;
  QTableView *figuresTable_, *itemsTable_;
  QTextBrowser* said_;
  QLabel* remark_;
};

} // namespace bitlathe::gui
