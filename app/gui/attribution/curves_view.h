// SPDX-License-Identifier: GPL-3.0-or-later
// Bits against divergence, one line per module: what another precision would cost or save. Lines
// of selected modules stand out; a point is hovered for its figures and clicked to select.
#pragma once

#include "core/eval/attribute.h"

#include <memory>
#include <QStringList>
#include <QWidget>

namespace bitlathe::gui {

class CurvesView : public QWidget {
  Q_OBJECT
 public:
  explicit CurvesView(QWidget* parent = nullptr);
  /// Null: none.
  void setReport(std::shared_ptr<const AttributionReport> report);
  void setFilter(const QString& text);
  void setSelection(const QStringList& modules);
  QString csv() const;
  QSize sizeHint() const override { return {360, 260}; }
  QSize minimumSizeHint() const override { return {220, 140}; }

 Q_SIGNALS:
  void clicked(const QStringList& modules);

 protected:
  void paintEvent(QPaintEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void leaveEvent(QEvent* event) override;
  bool event(QEvent* event) override;

 private:
  struct Point {
    const ModuleCurve* curve;
    const CurvePoint* point;
    double bits, kld, error;
    bool predicted;
    int role;
  };
  void rebuild();
  QRectF plot() const;
  QPointF at(const Point& point) const;
  double up(double kld) const; ///< 0..1
  int nearest(const QPointF& position) const;

  std::shared_ptr<const AttributionReport> report_;
  QStringList words_, selection_, roles_;
  QList<Point> points_; ///< curve after curve, few bits first
  double low_ = -6, high_ = 0, least_bits_ = 2, most_bits_ = 8;
  int under_ = -1;
};

} // namespace bitlathe::gui
