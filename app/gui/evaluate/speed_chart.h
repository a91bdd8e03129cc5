// SPDX-License-Identifier: GPL-3.0-or-later
// Tokens per second of the models at every measured length and number of sequences: bars beside one
// another, with the spread of the runs.
#pragma once

#include "core/eval/speed.h"

#include <QStringList>
#include <QWidget>

namespace bitlathe::gui {

class SpeedChart : public QWidget {
  Q_OBJECT
 public:
  enum class Measure { generated, prompt, first };

  explicit SpeedChart(QWidget* parent = nullptr);
  /// `colors`: per model its place among the contenders.
  void setReport(const SpeedReport& report, const QList<int>& colors);
  void setMeasure(Measure measure);
  QSize sizeHint() const override { return {480, 220}; }
  QSize minimumSizeHint() const override { return {240, 140}; }

 protected:
  void paintEvent(QPaintEvent* event) override;
  bool event(QEvent* event) override;

 private:
  struct Bar {
    QRectF box;
    QString tip;
  };
  const Spread& spread(const SpeedPoint& point) const;
  SpeedReport report_;
  QList<int> colors_;
  Measure measure_ = Measure::generated;
  QList<Bar> bars_; ///< of the last painting
};

} // namespace bitlathe::gui
