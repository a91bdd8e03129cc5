// SPDX-License-Identifier: GPL-3.0-or-later
// The chart of quality against size with what belongs to it: the measure, baselines to compare
// with, and variants that were not measured on this text yet.
#pragma once

#include "app/gui/evaluate/quality_chart.h"
#include "app/gui/widgets/card.h"
#include "app/gui/workbench.h"

class QComboBox;
class QPushButton;
class QToolButton;

namespace bitlathe::gui {

/// What can be drawn together: figures measured on one text.
struct QualityPoints {
  QList<QualityPoint> points;
  double noiseFloor = 0;
  QString on;         ///< the text
  QList<int> missing; ///< variants whose results are kept, without figures on it
  int lost = 0;       ///< variants without figures on it whose results are gone
};
QualityPoints qualityPoints(const Workbench& workbench);

class QualityCard : public Card {
  Q_OBJECT
 public:
  explicit QualityCard(Workbench& workbench, QWidget* parent = nullptr);
  QualityChart* chart() const { return chart_; }
  /// Makes and measures uniform baselines of these schemes on the chosen text.
  void measureBaselines(const QStringList& schemes);
  void measureMissing();
  /// What a first look should have.
  static QStringList usualBaselines();

 private:
  void refresh();
  void start(const QList<int>& variants, const QStringList& schemes);
  void stop();

  Workbench& workbench_;
  QualityChart* chart_;
  QComboBox* measure_;
  QToolButton *log_, *baselines_;
  QPushButton *missing_, *stop_;
  bool reading_ = false;
};

} // namespace bitlathe::gui
