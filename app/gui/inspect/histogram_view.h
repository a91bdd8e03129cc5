// SPDX-License-Identifier: GPL-3.0-or-later
// A histogram of values: the source over what is stored and over a second checkpoint, code and clip
// lines, wheel zoom, brush, hover read-out. Painted by hand, so that a thousand bins cost a
// millisecond.
#pragma once

#include "core/eval/weight_stats.h"

#include <optional>
#include <QStringList>
#include <QTimer>
#include <QWidget>

namespace bitlathe::gui {

class HistogramView : public QWidget {
  Q_OBJECT
 public:
  explicit HistogramView(QWidget* parent = nullptr);

  void clear();
  /// What to say instead of a picture; empty: that it is being counted.
  void setProblem(const QString& text);
  /// Histograms of the visible range or wider. `whole` is the range that a reset shows.
  void setData(std::optional<Histogram> original, std::optional<Histogram> stored,
               std::optional<Histogram> second = std::nullopt);
  /// Names of the series for the legend, in the same order; without them, or with one series only,
  /// there is no legend.
  void setLegend(const QStringList& names);
  /// What the read-out and the CSV call them; as it is made: original, stored, second.
  void setSeriesNames(const QString& original, const QString& stored, const QString& second);
  /// Heights are shares of each series' own total, scaled to the first's counts.
  void setByShare(bool on);
  void setWhole(double lo, double hi);     ///< also resets the view
  void setCodes(std::vector<float> codes); ///< what the codes of one group can express
  void setClip(std::optional<std::pair<double, double>> clip);
  /// Ranges to compare, each with a name: thin lines with the name at the upper end.
  struct Mark {
    QString name;
    double lo = 0, hi = 0;
  };
  void setMarks(std::vector<Mark> marks);
  void setLogScale(bool on);
  bool logScale() const { return log_; }
  double low() const { return lo_; }
  double high() const { return hi_; }
  void zoomTo(double lo, double hi);
  void resetZoom() { zoomTo(whole_lo_, whole_hi_); }
  QString csv() const;
  QSize sizeHint() const override { return {420, 240}; }
  QSize minimumSizeHint() const override { return {200, 120}; }

 Q_SIGNALS:
  void rangeWanted(double lo, double hi); ///< after zooming has come to rest
  void hovered(const QString& readout);   ///< empty when the mouse left

 protected:
  void paintEvent(QPaintEvent* event) override;
  void wheelEvent(QWheelEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void mouseReleaseEvent(QMouseEvent* event) override;
  void mouseDoubleClickEvent(QMouseEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;
  void leaveEvent(QEvent* event) override;

 private:
  QRectF plotArea() const;
  double toX(double value) const;
  double toValue(double x) const;
  double toY(double count) const;
  double topCount() const;
  void drawSeries(QPainter& painter, const Histogram& histogram, const QColor& color, bool outline);
  void drawAxes(QPainter& painter);
  void drawCodes(QPainter& painter);
  void drawMarks(QPainter& painter);
  void drawHover(QPainter& painter);
  void drawLegend(QPainter& painter);
  void zoomAround(double value, double factor);
  /// Nearest code to a value and the interval of values that are coded to it.
  struct Nearest {
    float code = 0;
    double lo = 0, hi = 0;
  };
  std::optional<Nearest> nearestCode(double value) const;
  QString readout(double value) const;
  /// What a count of a series is multiplied by to stand beside the first's.
  double scaleOf(const Histogram& series) const;

  std::optional<Histogram> original_, stored_, second_;
  QStringList legend_;
  QString names_[3];
  bool by_share_ = false;
  QString problem_;
  std::vector<float> codes_; ///< sorted
  std::optional<std::pair<double, double>> clip_;
  std::vector<Mark> marks_;
  bool log_ = true;
  double whole_lo_ = -1, whole_hi_ = 1, lo_ = -1, hi_ = 1;
  std::optional<double> hover_;
  std::optional<QPointF> brush_from_;
  double brush_to_ = 0;
  QTimer settle_;
};

} // namespace bitlathe::gui
