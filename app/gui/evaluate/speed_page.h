// SPDX-License-Identifier: GPL-3.0-or-later
// Speed and memory of every contender: settings, a table of what each takes, a chart of what each
// gives, and all points with their spread.
#pragma once

#include "app/gui/workbench.h"
#include "core/eval/speed.h"

#include <QWidget>

class QComboBox;
class QLabel;
class QLineEdit;
class QProgressBar;
class QPushButton;
class QSpinBox;
class QStandardItemModel;
class QTableView;

namespace bitlathe::gui {

class Card;
class SpeedChart;

class SpeedPage : public QWidget {
  Q_OBJECT
 public:
  explicit SpeedPage(Workbench& workbench, QWidget* parent = nullptr);
  ~SpeedPage() override;
  void setOptions(const QString& contexts, const QString& batches, int repeat);
  void measure();
  bool measuring() const { return measuring_; }
  const SpeedReport& report() const { return report_; }

 private:
  struct Running;
  QWidget* buildControls();
  void restore();
  void refresh();
  void drain();
  void stop();
  std::optional<std::vector<std::int64_t>> numbers(const QLineEdit* edit, const QString& name);

  Workbench& workbench_;
  std::shared_ptr<Running> running_;
  SpeedReport report_;
  bool measuring_ = false;

  QLineEdit *contexts_, *batches_;
  QSpinBox *repeat_, *new_tokens_;
  QPushButton *measure_, *stop_;
  QProgressBar* bar_;
  Card *memoryCard_, *chartCard_, *pointsCard_;
  QStandardItemModel *memory_, *points_;
  QTableView *memoryTable_, *pointsTable_;
  SpeedChart* chart_;
  QLabel* remark_;
};

} // namespace bitlathe::gui
