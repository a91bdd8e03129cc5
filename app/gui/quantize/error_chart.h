// SPDX-License-Identifier: GPL-3.0-or-later
// Error of what is stored, one bar per module in model order, blocks side by side; coloured by
// precision. A bar is hovered for its figures and clicked to select the module everywhere.
#pragma once

#include "app/gui/quantize/results_model.h"

#include <QWidget>

namespace bitlathe::gui {

class ErrorChart : public QWidget {
  Q_OBJECT
 public:
  enum class Metric { sqnr, mse, cosine, worst, output };

  explicit ErrorChart(QWidget* parent = nullptr);
  void setRows(const QList<ResultsModel::Row>& rows);
  void setMetric(Metric metric);
  void setSelection(const QStringList& modules);
  QString csv() const;
  QSize sizeHint() const override { return {480, 200}; }
  QSize minimumSizeHint() const override { return {240, 120}; }

 Q_SIGNALS:
  void clicked(const QString& module);

 protected:
  void paintEvent(QPaintEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void leaveEvent(QEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;
  bool event(QEvent* event) override;

 private:
  struct Axis {
    double low = 0, high = 1;
    bool logarithmic = false;
    double at(double value) const; ///< 0..1
    QList<QPair<double, QString>> ticks() const;
  };
  double value(const ResultsModel::Row& row) const;
  Axis axis() const;
  QRectF plot() const;
  double slot() const; ///< width for one bar, gap included
  int barAt(const QPointF& position) const;
  QString tip(const ResultsModel::Row& row) const;
  void step(int by);

  QList<ResultsModel::Row> rows_; ///< quantized ones and those waiting
  QStringList selection_;
  Metric metric_ = Metric::sqnr;
  int under_ = -1;
};

} // namespace bitlathe::gui
