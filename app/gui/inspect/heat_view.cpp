// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/inspect/heat_view.h"

#include "app/gui/format.h"
#include "app/gui/theme.h"

#include <algorithm>
#include <cmath>
#include <QKeyEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QWheelEvent>

namespace bitlathe::gui {

namespace {

constexpr int strip = 9, strip_gap = 3, scale_height = 20;
/// A channel this many times the median of its like stands out.
constexpr float outlier_factor = 3.0f;

float median(std::vector<float> values) {
  if (values.empty())
    return 0;
  const auto middle = values.begin() + std::ptrdiff_t(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

float extreme(const HeatTile& tile) {
  return std::abs(tile.max) >= std::abs(tile.min) ? tile.max : tile.min;
}

} // namespace

HeatView::HeatView(QWidget* parent) : QWidget(parent) {
  setMouseTracking(true);
  setFocusPolicy(Qt::StrongFocus);
  setAccessibleName(tr("Heat map of the weight matrix"));
  settle_.setSingleShot(true);
  settle_.setInterval(90);
  connect(&settle_, &QTimer::timeout, this, &HeatView::regionWanted);
  connect(&Theme::instance(), &Theme::changed, this, [this] {
    rebuildImage();
    update();
  });
}

void HeatView::setMatrix(std::int64_t rows, std::int64_t cols) {
  rows_ = rows;
  cols_ = cols;
  row0_ = col0_ = 0;
  shown_rows_ = double(rows);
  shown_cols_ = double(cols);
  map_.reset();
  image_ = {};
  update();
}

void HeatView::clear() { setMatrix(0, 0); }

void HeatView::setMap(HeatMap map) {
  map_ = std::move(map);
  rebuildImage();
  update();
}

void HeatView::setMode(Mode mode, double scale) {
  mode_ = mode;
  scale_ = scale > 0 ? scale : 1;
  rebuildImage();
  update();
}

HeatView::Region HeatView::region() const {
  Region r;
  r.row0 = std::clamp<std::int64_t>(std::int64_t(std::floor(row0_)), 0,
                                    std::max<std::int64_t>(rows_ - 1, 0));
  r.col0 = std::clamp<std::int64_t>(std::int64_t(std::floor(col0_)), 0,
                                    std::max<std::int64_t>(cols_ - 1, 0));
  r.rows = std::min(rows_ - r.row0, std::int64_t(std::ceil(row0_ + shown_rows_)) - r.row0);
  r.cols = std::min(cols_ - r.col0, std::int64_t(std::ceil(col0_ + shown_cols_)) - r.col0);
  return r;
}

std::int64_t HeatView::tiles() const {
  const QRectF area = mapArea();
  return std::clamp<std::int64_t>(std::int64_t(std::max(area.width(), area.height())), 64, 768);
}

void HeatView::rebuildImage() {
  image_ = {};
  row_max_.clear();
  col_max_.clear();
  if (!map_ || map_->tile_rows <= 0 || map_->tile_cols <= 0)
    return;
  const int height = int(map_->tile_rows), width = int(map_->tile_cols);
  image_ = QImage(width, height, QImage::Format_RGB32);
  row_max_.assign(std::size_t(height), 0);
  col_max_.assign(std::size_t(width), 0);
  // A table of colours: interpolating per pixel would cost more than the picture.
  std::array<QRgb, 513> colors;
  for (std::size_t i = 0; i < colors.size(); ++i) {
    const double t = double(i) / 512;
    colors[i] = (mode_ == Mode::value ? divergingColor(2 * t - 1) : heatColor(t)).rgb();
  }
  for (int y = 0; y < height; ++y) {
    auto* line = reinterpret_cast<QRgb*>(image_.scanLine(y));
    for (int x = 0; x < width; ++x) {
      const HeatTile& tile = map_->tiles[std::size_t(y) * std::size_t(width) + std::size_t(x)];
      const double value = mode_ == Mode::value       ? double(extreme(tile))
                           : mode_ == Mode::magnitude ? double(tile.mean_abs)
                                                      : double(tile.max);
      const double t = mode_ == Mode::value ? 0.5 + 0.5 * value / scale_ : value / scale_;
      line[x] = colors[std::isfinite(t) ? std::size_t(std::clamp(t, 0.0, 1.0) * 512) : 512];
      const float size = std::max(std::abs(tile.min), std::abs(tile.max));
      row_max_[std::size_t(y)] = std::max(row_max_[std::size_t(y)], size);
      col_max_[std::size_t(x)] = std::max(col_max_[std::size_t(x)], size);
    }
  }
}

QRectF HeatView::mapArea() const {
  return QRectF(rect()).adjusted(0, 0, -(strip + strip_gap), -(strip + strip_gap + scale_height));
}

QPointF HeatView::toMatrix(QPointF at) const {
  const QRectF area = mapArea();
  return {col0_ + (at.x() - area.left()) / area.width() * shown_cols_,
          row0_ + (at.y() - area.top()) / area.height() * shown_rows_};
}

QRectF HeatView::toWidget(double row0, double col0, double rows, double cols) const {
  const QRectF area = mapArea();
  const double sx = area.width() / shown_cols_, sy = area.height() / shown_rows_;
  return {area.left() + (col0 - col0_) * sx, area.top() + (row0 - row0_) * sy, cols * sx,
          rows * sy};
}

void HeatView::moveTo(double row0, double col0, double rows, double cols) {
  shown_rows_ = std::clamp(rows, std::min(4.0, double(rows_)), double(rows_));
  shown_cols_ = std::clamp(cols, std::min(4.0, double(cols_)), double(cols_));
  row0_ = std::clamp(row0, 0.0, double(rows_) - shown_rows_);
  col0_ = std::clamp(col0, 0.0, double(cols_) - shown_cols_);
  settle_.start();
  update();
}

void HeatView::zoomAround(QPointF at, double factor) {
  const double fx = (at.x() - col0_) / shown_cols_, fy = (at.y() - row0_) / shown_rows_;
  const double rows = std::clamp(shown_rows_ * factor, std::min(4.0, double(rows_)), double(rows_));
  const double cols = std::clamp(shown_cols_ * factor, std::min(4.0, double(cols_)), double(cols_));
  moveTo(at.y() - fy * rows, at.x() - fx * cols, rows, cols);
}

void HeatView::resetZoom() { moveTo(0, 0, double(rows_), double(cols_)); }

void HeatView::drawStrips(QPainter& painter) const {
  const QRectF area = mapArea();
  const auto draw = [&](const std::vector<float>& values, bool is_row) {
    if (values.empty())
      return;
    const float typical = median(values);
    const float largest = *std::max_element(values.begin(), values.end());
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double per = double(is_row ? map_->rows : map_->cols) / double(values.size());
      QRectF cell = is_row ? toWidget(double(map_->row0) + double(i) * per, 0, per, 1)
                           : toWidget(0, double(map_->col0) + double(i) * per, 1, per);
      if (is_row)
        cell = QRectF(area.right() + strip_gap, cell.top(), strip, std::max(1.0, cell.height()));
      else
        cell = QRectF(cell.left(), area.bottom() + strip_gap, std::max(1.0, cell.width()), strip);
      const bool outlier = values.size() > 8 && values[i] > outlier_factor * typical;
      painter.fillRect(
          cell, outlier ? theme().outlier
                        : mixed(theme().raised, theme().original,
                                largest > 0 ? 0.15 + 0.85 * double(values[i] / largest) : 0));
    }
  };
  painter.save();
  painter.setClipRect(QRectF(area.right(), area.top(), strip + strip_gap, area.height()));
  draw(row_max_, true);
  painter.setClipRect(QRectF(area.left(), area.bottom(), area.width(), strip + strip_gap));
  draw(col_max_, false);
  painter.restore();
}

void HeatView::drawScale(QPainter& painter) const {
  const QRectF area = mapArea();
  const QRectF bar(area.left(), area.bottom() + strip_gap + strip + 9,
                   std::min(110.0, area.width() * 0.3), 7);
  for (int x = 0; x < int(bar.width()); ++x) {
    const double t = x / bar.width();
    painter.fillRect(QRectF(bar.left() + x, bar.top(), 1.5, bar.height()),
                     mode_ == Mode::value ? divergingColor(2 * t - 1) : heatColor(t));
  }
  painter.setFont(smallFont());
  painter.setPen(theme().muted);
  const QString range = mode_ == Mode::value ? tr("± %1").arg(formatNumber(scale_, 3))
                                             : tr("0 to %1").arg(formatNumber(scale_, 3));
  const Region r = region();
  const QString where = r.rows == rows_ && r.cols == cols_
                            ? tr("%1 rows × %2 columns").arg(rows_).arg(cols_)
                            : tr("rows %1–%2, columns %3–%4")
                                  .arg(r.row0)
                                  .arg(r.row0 + r.rows - 1)
                                  .arg(r.col0)
                                  .arg(r.col0 + r.cols - 1);
  const QRectF line(bar.right() + 8, bar.top() - 5, width() - bar.right() - 8, 17);
  painter.drawText(line, Qt::AlignLeft | Qt::AlignVCenter, range);
  painter.drawText(line, Qt::AlignRight | Qt::AlignVCenter, where);
}

void HeatView::paintEvent(QPaintEvent*) {
  QPainter painter(this);
  const QRectF area = mapArea();
  if (rows_ <= 0 || cols_ <= 0 || image_.isNull()) {
    painter.setPen(theme().muted);
    painter.drawText(rect(), Qt::AlignCenter, rows_ > 0 ? tr("reading …") : QString());
    return;
  }
  painter.save();
  painter.setClipRect(area);
  painter.fillRect(area, theme().panel);
  // Where the picture is finer than the screen it is smoothed; single weights keep their edges.
  const QRectF target =
      toWidget(double(map_->row0), double(map_->col0), double(map_->rows), double(map_->cols));
  painter.setRenderHint(QPainter::SmoothPixmapTransform, target.width() < image_.width());
  painter.drawImage(target, image_);
  painter.restore();
  drawStrips(painter);
  drawScale(painter);
  if (hover_ && area.contains(*hover_)) {
    painter.setPen(QPen(theme().text, 1, Qt::DotLine));
    painter.drawLine(QPointF(hover_->x(), area.top()), QPointF(hover_->x(), area.bottom()));
    painter.drawLine(QPointF(area.left(), hover_->y()), QPointF(area.right(), hover_->y()));
  }
  if (hasFocus()) {
    painter.setPen(theme().accent);
    painter.setBrush(Qt::NoBrush);
    painter.drawRect(area.adjusted(0, 0, -1, -1));
  }
}

QString HeatView::readout(QPointF at) const {
  if (!map_ || !mapArea().contains(at))
    return {};
  const QPointF m = toMatrix(at);
  const double per_row = double(map_->rows) / double(map_->tile_rows);
  const double per_col = double(map_->cols) / double(map_->tile_cols);
  const auto y = std::int64_t((m.y() - double(map_->row0)) / per_row);
  const auto x = std::int64_t((m.x() - double(map_->col0)) / per_col);
  if (y < 0 || x < 0 || y >= map_->tile_rows || x >= map_->tile_cols)
    return {};
  const HeatTile& tile = map_->tiles[std::size_t(y * map_->tile_cols + x)];
  QString text = tr("row %1, column %2").arg(qint64(m.y())).arg(qint64(m.x()));
  const bool single = map_->tile_rows == map_->rows && map_->tile_cols == map_->cols;
  if (mode_ == Mode::error)
    return text + tr("  ·  error %1").arg(formatNumber(double(tile.max), 3));
  if (single)
    return text + tr("  ·  %1").arg(formatNumber(double(tile.max)));
  return text + tr("  ·  %1 to %2, mean |w| %3")
                    .arg(formatNumber(double(tile.min), 3), formatNumber(double(tile.max), 3),
                         formatNumber(double(tile.mean_abs), 3));
}

void HeatView::resizeEvent(QResizeEvent*) {
  if (rows_ > 0)
    settle_.start();
}

void HeatView::wheelEvent(QWheelEvent* event) {
  if (rows_ > 0)
    zoomAround(toMatrix(event->position()), std::pow(0.8, event->angleDelta().y() / 120.0));
  event->accept();
}

void HeatView::mousePressEvent(QMouseEvent* event) {
  if (event->button() != Qt::LeftButton)
    return;
  drag_from_ = event->position();
  drag_origin_ = {col0_, row0_};
  dragged_ = false;
}

void HeatView::mouseMoveEvent(QMouseEvent* event) {
  hover_ = event->position();
  if (drag_from_ && rows_ > 0) {
    const QRectF area = mapArea();
    const QPointF by = event->position() - *drag_from_;
    dragged_ = dragged_ || by.manhattanLength() > 4;
    if (dragged_)
      moveTo(drag_origin_.y() - by.y() / area.height() * shown_rows_,
             drag_origin_.x() - by.x() / area.width() * shown_cols_, shown_rows_, shown_cols_);
  }
  Q_EMIT hovered(readout(*hover_));
  update();
}

void HeatView::mouseReleaseEvent(QMouseEvent* event) {
  if (event->button() != Qt::LeftButton)
    return;
  if (drag_from_ && !dragged_ && rows_ > 0 && mapArea().contains(event->position())) {
    const QPointF m = toMatrix(event->position());
    Q_EMIT picked(std::clamp<qint64>(qint64(m.y()), 0, rows_ - 1),
                  std::clamp<qint64>(qint64(m.x()), 0, cols_ - 1));
  }
  drag_from_.reset();
}

void HeatView::mouseDoubleClickEvent(QMouseEvent*) {
  drag_from_.reset();
  resetZoom();
}

void HeatView::keyPressEvent(QKeyEvent* event) {
  const QPointF middle(col0_ + shown_cols_ / 2, row0_ + shown_rows_ / 2);
  const double dx = shown_cols_ * 0.2, dy = shown_rows_ * 0.2;
  switch (event->key()) {
  case Qt::Key_Plus:
  case Qt::Key_Equal:
    zoomAround(middle, 0.7);
    break;
  case Qt::Key_Minus:
    zoomAround(middle, 1 / 0.7);
    break;
  case Qt::Key_0:
  case Qt::Key_Home:
    resetZoom();
    break;
  case Qt::Key_Left:
    moveTo(row0_, col0_ - dx, shown_rows_, shown_cols_);
    break;
  case Qt::Key_Right:
    moveTo(row0_, col0_ + dx, shown_rows_, shown_cols_);
    break;
  case Qt::Key_Up:
    moveTo(row0_ - dy, col0_, shown_rows_, shown_cols_);
    break;
  case Qt::Key_Down:
    moveTo(row0_ + dy, col0_, shown_rows_, shown_cols_);
    break;
  default:
    QWidget::keyPressEvent(event);
  }
}

void HeatView::leaveEvent(QEvent*) {
  hover_.reset();
  Q_EMIT hovered({});
  update();
}

QString HeatView::csv() const {
  QString out = QStringLiteral("row,column,rows,columns,min,max,mean_abs\n");
  if (!map_)
    return out;
  const double per_row = double(map_->rows) / double(map_->tile_rows);
  const double per_col = double(map_->cols) / double(map_->tile_cols);
  for (std::int64_t y = 0; y < map_->tile_rows; ++y)
    for (std::int64_t x = 0; x < map_->tile_cols; ++x) {
      const HeatTile& tile = map_->tiles[std::size_t(y * map_->tile_cols + x)];
      out += QStringLiteral("%1,%2,%3,%4,%5,%6,%7\n")
                 .arg(map_->row0 + std::int64_t(double(y) * per_row))
                 .arg(map_->col0 + std::int64_t(double(x) * per_col))
                 .arg(per_row)
                 .arg(per_col)
                 .arg(double(tile.min), 0, 'g', 9)
                 .arg(double(tile.max), 0, 'g', 9)
                 .arg(double(tile.mean_abs), 0, 'g', 9);
    }
  return out;
}

} // namespace bitlathe::gui
