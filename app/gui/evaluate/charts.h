// SPDX-License-Identifier: GPL-3.0-or-later
// Where in the text models differ, as a chart.
#pragma once

#include <QList>
#include <QString>
#include <QtCharts/QChartView>

namespace bitlathe::gui {

/// A chart in the colours of the theme, without animation or frame.
class ThemedChart : public QChartView {
  Q_OBJECT
 public:
  explicit ThemedChart(QWidget* parent = nullptr);
  QSize sizeHint() const override { return {360, 220}; }
  QSize minimumSizeHint() const override { return {220, 140}; }

 protected:
  /// Axes, grid, legend; called by subclasses after they filled the chart.
  void dress();
  void changeEvent(QEvent* event) override;
  virtual void rebuild() = 0;
};

/// Per window of text: negative log likelihood minus the reference's, or the mean KL divergence.
class WindowChart : public ThemedChart {
  Q_OBJECT
 public:
  enum class Measure { nll, kl };
  struct Line {
    QString title;
    int contender = 1;
    QList<double> nll, kl; ///< differences to the reference; means
  };
  using ThemedChart::ThemedChart;
  void setLines(const QList<Line>& lines);
  void setMeasure(Measure measure);
  QString csv() const;

 protected:
  void rebuild() override;

 private:
  QList<Line> lines_;
  Measure measure_ = Measure::nll;
};

} // namespace bitlathe::gui
