// SPDX-License-Identifier: GPL-3.0-or-later
// Minimum and maximum of every channel as a band; outlier channels are amber. At most a few hundred
// points are drawn: neighbours are merged by their extremes, so that no outlier disappears.
#pragma once

#include <QChartView>
#include <vector>

class QAreaSeries;
class QLineSeries;
class QScatterSeries;
class QValueAxis;

namespace bitlathe::gui {

class ChannelChart : public QChartView {
  Q_OBJECT
 public:
  explicit ChannelChart(QWidget* parent = nullptr);
  /// `factor`: a channel is an outlier when its largest absolute value is more than this many times
  /// the median of all channels.
  void setRanges(std::vector<float> low, std::vector<float> high, double factor);
  void clear() { setRanges({}, {}, 3); }
  int outliers() const { return int(outlier_channels_.size()); }
  QString csv() const;
  QSize sizeHint() const override { return {360, 240}; }
  QSize minimumSizeHint() const override { return {180, 120}; }

 Q_SIGNALS:
  void hovered(const QString& readout);

 protected:
  void mouseMoveEvent(QMouseEvent* event) override;
  void mouseDoubleClickEvent(QMouseEvent* event) override;
  void leaveEvent(QEvent* event) override;
  void wheelEvent(QWheelEvent* event) override;

 private:
  void redraw();
  void recolor();

  std::vector<float> low_, high_;
  std::vector<std::size_t> outlier_channels_; ///< strongest first
  double from_ = 0, to_ = 1;                  ///< channels in view
  QLineSeries *upper_, *lower_;
  QAreaSeries* band_;
  QScatterSeries* marks_;
  QValueAxis *x_axis_, *y_axis_;
};

} // namespace bitlathe::gui
