// SPDX-License-Identifier: GPL-3.0-or-later
// The predicted size as a bar of precisions against the source's size and a budget.
#pragma once

#include "core/recipe/plan.h"

#include <QWidget>

namespace bitlathe::gui {

class BudgetBar : public QWidget {
  Q_OBJECT
 public:
  explicit BudgetBar(QWidget* parent = nullptr);
  void setPlan(const Plan* plan);
  void setBudget(quint64 bytes); ///< 0: none
  QSize sizeHint() const override { return {420, 74}; }
  QSize minimumSizeHint() const override { return {220, 74}; }

 protected:
  void paintEvent(QPaintEvent* event) override;
  bool event(QEvent* event) override; ///< tooltips of the segments

 private:
  struct Segment {
    QString scheme;
    double bits = 32;
    quint64 bytes = 0;
    int modules = 0;
  };
  QRectF barArea() const;
  QRectF segmentArea(int index) const;
  QList<Segment> segments_; ///< fewest bits first
  quint64 before_ = 0, after_ = 0, budget_ = 0;
};

} // namespace bitlathe::gui
