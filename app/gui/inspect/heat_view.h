// SPDX-License-Identifier: GPL-3.0-or-later
// A weight matrix as a picture: every tile of a min/max pyramid is one pixel until single weights
// fill them. Strips along both edges show the largest value of each row and column; outlier
// channels are amber.
#pragma once

#include "core/eval/weight_stats.h"

#include <optional>
#include <QImage>
#include <QTimer>
#include <QWidget>

namespace bitlathe::gui {

class HeatView : public QWidget {
  Q_OBJECT
 public:
  enum class Mode {
    value,     ///< the extreme value of a tile, signed
    magnitude, ///< mean absolute value
    error      ///< largest |original - stored|
  };
  explicit HeatView(QWidget* parent = nullptr);

  void setMatrix(std::int64_t rows, std::int64_t cols); ///< shows all of it; drops the picture
  void setMap(HeatMap map);
  void setMode(Mode mode, double scale); ///< `scale`: the value that gets the strongest colour
  Mode mode() const { return mode_; }
  void clear();
  void resetZoom();
  /// Region shown now, in whole rows and columns.
  struct Region {
    std::int64_t row0 = 0, col0 = 0, rows = 0, cols = 0;
  };
  Region region() const;
  std::int64_t tiles() const; ///< how many tiles across are worth asking for
  QString csv() const;
  QSize sizeHint() const override { return {360, 280}; }
  QSize minimumSizeHint() const override { return {180, 140}; }

 Q_SIGNALS:
  void regionWanted(); ///< after zooming or panning has come to rest
  void hovered(const QString& readout);
  void picked(qint64 row, qint64 col);

 protected:
  void paintEvent(QPaintEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;
  void wheelEvent(QWheelEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void mouseReleaseEvent(QMouseEvent* event) override;
  void mouseDoubleClickEvent(QMouseEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;
  void leaveEvent(QEvent* event) override;

 private:
  QRectF mapArea() const;
  QPointF toMatrix(QPointF at) const; ///< (column, row), fractional
  QRectF toWidget(double row0, double col0, double rows, double cols) const;
  void moveTo(double row0, double col0, double rows, double cols);
  void zoomAround(QPointF matrix_point, double factor);
  void rebuildImage();
  void drawStrips(QPainter& painter) const;
  void drawScale(QPainter& painter) const;
  QString readout(QPointF at) const;

  std::int64_t rows_ = 0, cols_ = 0;
  double row0_ = 0, col0_ = 0, shown_rows_ = 0, shown_cols_ = 0;
  std::optional<HeatMap> map_;
  QImage image_;
  std::vector<float> row_max_, col_max_; ///< per tile row and column of the map
  Mode mode_ = Mode::value;
  double scale_ = 1;
  std::optional<QPointF> hover_, drag_from_;
  QPointF drag_origin_;
  bool dragged_ = false;
  QTimer settle_;
};

} // namespace bitlathe::gui
