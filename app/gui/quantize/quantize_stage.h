// SPDX-License-Identifier: GPL-3.0-or-later
// Stage 3: run the plan and watch every module arrive.
#pragma once

#include "app/gui/quantize/error_chart.h"
#include "app/gui/quantize/results_model.h"
#include "app/gui/workbench.h"

#include <QWidget>

class QComboBox;
class QLabel;
class QPlainTextEdit;
class QProgressBar;
class QPushButton;
class QSortFilterProxyModel;
class QStackedWidget;
class QTableView;
class QTabWidget;

namespace bitlathe::gui {

class Banner;
class Card;
class EmptyState;
class FigureTile;
class SizeBars;

class QuantizeStage : public QWidget {
  Q_OBJECT
 public:
  enum class State { no_model, nothing_planned, ready, running, done, cancelled, failed };

  QuantizeStage(Workbench& workbench, QWidget* parent = nullptr);
  State state() const { return state_; }
  QTableView* table() const { return table_; }

 private:
  QWidget* buildRun();
  QWidget* buildTable();
  QWidget* buildFooter();
  void followJob();
  void refresh();
  void refreshTexts();
  void refreshTiles();
  void refreshRows();
  void refreshFooter();
  void progress();
  void selectInTable();
  void log(int level, const QString& line);
  void cleanUp();
  State findState() const;
  JobStatus job() const; ///< of the last run; id 0 when there was none
  QString advice(const QString& code) const;

  Workbench& workbench_;
  State state_ = State::no_model;
  JobId job_ = 0;
  bool syncing_ = false;

  QStackedWidget* pages_;
  EmptyState* empty_;
  Banner* banner_;
  QLabel *title_, *subtitle_;
  QPushButton *start_, *cancel_;
  QProgressBar* bar_;
  SizeBars* sizes_;
  FigureTile *modulesTile_, *timeTile_, *etaTile_, *deviceTile_, *memoryTile_, *bitsTile_;
  Card* chartCard_;
  ErrorChart* chart_;
  QComboBox* metric_;
  ResultsModel* model_;
  QSortFilterProxyModel* sorted_;
  QTableView* table_;
  QTabWidget* tabs_;
  QPlainTextEdit *log_, *notes_;
  QLabel* folder_;
  QPushButton *openFolder_, *clean_;
};

/// Anonymous plus shared memory of this process now, in bytes.
quint64 memoryInUse();

} // namespace bitlathe::gui
