// SPDX-License-Identifier: GPL-3.0-or-later
// Stage 5: figures on held-out text, with their errors, and what they allow to be said.
#pragma once

#include "app/gui/evaluate/charts.h"
#include "app/gui/evaluate/evaluation_text.h"
#include "app/gui/evaluate/figures_model.h"
#include "app/gui/workbench.h"

#include <QWidget>

class QComboBox;
class QLabel;
class QLineEdit;
class QProgressBar;
class QPushButton;
class QSpinBox;
class QStackedWidget;
class QTableView;
class QTabWidget;

namespace bitlathe::gui {

class Banner;
class Card;
class ChecklistView;
class EmptyState;
class Evidence;
class QualityCard;

class EvaluateStage : public QWidget {
  Q_OBJECT
 public:
  EvaluateStage(Workbench& workbench, QWidget* parent = nullptr);

  void setText(const QString& path);
  QString textPath() const;
  void setWindows(int windows);
  void setContext(int context);
  void measure();
  const FiguresModel& figures() const { return *model_; }

 protected:
  void dragEnterEvent(QDragEnterEvent* event) override;
  void dropEvent(QDropEvent* event) override;

 private:
  QWidget* buildControls();
  QWidget* buildOverview();
  QWidget* buildFigures();
  QWidget* buildCharts();
  void modelOpened();
  void refresh();
  void refreshFigures();
  void refreshButtons();
  void refreshChecklist();
  void progress();
  void stop();
  void askText();
  void showChoice();
  void showOverlaps();
  void change(const std::function<void(EvaluationText::Choice&)>& edit);
  JobStatus job() const;

  Workbench& workbench_;
  Evidence* evidence_;
  bool reading_ = false;
  JobId failedShown_ = 0;

  QStackedWidget* pages_;
  EmptyState* empty_;
  Banner* banner_;
  QLineEdit* path_;
  QComboBox* part_;
  QSpinBox *context_, *windows_;
  QPushButton *measure_, *stop_;
  QProgressBar* bar_;
  QTabWidget* views_;
  Card *figuresCard_, *windowCard_, *checkCard_;
  QualityCard* qualityCard_;
  FiguresModel* model_;
  QTableView* table_;
  QLabel *floor_, *overlap_;
  WindowChart* window_;
  ChecklistView* checklist_;
};

} // namespace bitlathe::gui
