// SPDX-License-Identifier: GPL-3.0-or-later
// Mean divergence of parts of the scored tokens, one bar per part with its standard error, and the
// mean of all as a line.
#pragma once

#include "core/eval/eval.h"

#include <QWidget>

namespace bitlathe::gui {

class BreakdownChart : public QWidget {
  Q_OBJECT
 public:
  enum class Measure { kl, nll };

  explicit BreakdownChart(QWidget* parent = nullptr);
  /// `color` is the contender's place.
  void setParts(const std::vector<PartFigures>& parts, double mean, int color);
  void setMeasure(Measure measure);
  QString csv() const;
  QSize sizeHint() const override { return {320, 200}; }
  QSize minimumSizeHint() const override { return {200, 120}; }

 protected:
  void paintEvent(QPaintEvent* event) override;
  bool event(QEvent* event) override;

 private:
  double value(const PartFigures& part) const;
  QRectF bars() const;
  double rowHeight() const;

  std::vector<PartFigures> parts_;
  double mean_ = 0;
  int color_ = 1;
  Measure measure_ = Measure::kl;
};

} // namespace bitlathe::gui
