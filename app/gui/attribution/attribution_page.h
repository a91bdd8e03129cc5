// SPDX-License-Identifier: GPL-3.0-or-later
// "Which layer did it?": bars of what every module costs, curves of what other schemes would cost,
// and what both say together. A page of the Evaluate stage.
#pragma once

#include "app/gui/attribution/attribution.h"
#include "app/gui/attribution/bars_view.h"

#include <QWidget>

class QComboBox;
class QLabel;
class QLineEdit;
class QProgressBar;
class QPushButton;
class QScrollArea;
class QStackedWidget;

namespace bitlathe::gui {

class Banner;
class Card;
class CurvesView;
class EmptyState;

class AttributionPage : public QWidget {
  Q_OBJECT
 public:
  explicit AttributionPage(Workbench& workbench, QWidget* parent = nullptr);

  void measure();
  const BarsView& bars() const { return *bars_; }

 private:
  QWidget* buildControls();
  QWidget* buildBars();
  QWidget* buildCurves();
  void refresh();
  void refreshControls();
  void refreshWords();
  void progress();
  void measureCurves();
  void showMenu(const QStringList& modules, const QPoint& at);
  void raise(const QStringList& modules);

  Workbench& workbench_;
  Attribution& attribution_;
  QStackedWidget* pages_;
  EmptyState* empty_;
  QPushButton* emptyAction_;
  Banner* banner_;
  QComboBox *candidate_, *mode_, *share_, *level_, *value_, *colour_, *scale_;
  QLineEdit *filter_, *schemes_;
  QPushButton *measure_, *stop_, *measureCurves_;
  QProgressBar* bar_;
  QLabel *step_, *words_, *curveWords_;
  Card *barsCard_, *curvesCard_;
  QScrollArea* scroll_;
  BarsView* bars_;
  CurvesView* curves_;
};

} // namespace bitlathe::gui
