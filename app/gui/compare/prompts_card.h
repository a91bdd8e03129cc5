// SPDX-License-Identifier: GPL-3.0-or-later
// The prompts of the set with what came of each, and the run over all of them: how far it is, how
// long it will take, and what it says in sum.
#pragma once

#include "app/gui/compare/prompts_model.h"
#include "app/gui/widgets/card.h"

class QLabel;
class QProgressBar;
class QPushButton;
class QTableView;

namespace bitlathe::gui {

class PromptsCard : public Card {
  Q_OBJECT
 public:
  explicit PromptsCard(QWidget* parent = nullptr);
  PromptsModel& model() { return *model_; }
  QTableView* table() { return table_; }
  void setCurrent(int row);
  /// `done` of `count` prompts; seconds < 0: not known.
  void showProgress(int done, int count, double progress, double seconds);
  void hideProgress();
  void showSummary(const QString& text);

 Q_SIGNALS:
  void chosen(int row); ///< clicked or moved to

 private:
  PromptsModel* model_;
  QTableView* table_;
  QProgressBar* bar_;
  QLabel *progress_, *summary_;
  bool quiet_ = false;
};

} // namespace bitlathe::gui
