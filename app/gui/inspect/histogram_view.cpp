// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/inspect/histogram_view.h"

#include "app/gui/format.h"
#include "app/gui/inspect/plot_axes.h"
#include "app/gui/theme.h"

#include <algorithm>
#include <cmath>
#include <QKeyEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QPainterPath>
#include <QWheelEvent>

namespace bitlathe::gui {

namespace {

/// Heights of both series are compared per bin width, so that different ranges stay comparable.
double binWidth(const Histogram& histogram) {
  return histogram.counts.empty()
             ? 1
             : (histogram.edges.back() - histogram.edges.front()) / double(histogram.counts.size());
}

} // namespace

HistogramView::HistogramView(QWidget* parent)
    : QWidget(parent), names_{tr("original"), tr("stored"), tr("second")} {
  setMouseTracking(true);
  setFocusPolicy(Qt::StrongFocus);
  setAccessibleName(tr("Histogram"));
  settle_.setSingleShot(true);
  settle_.setInterval(90);
  connect(&settle_, &QTimer::timeout, this, [this] { Q_EMIT rangeWanted(lo_, hi_); });
  connect(&Theme::instance(), &Theme::changed, this, qOverload<>(&QWidget::update));
}

void HistogramView::clear() {
  original_.reset();
  stored_.reset();
  second_.reset();
  codes_.clear();
  clip_.reset();
  update();
}

void HistogramView::setProblem(const QString& text) {
  problem_ = text;
  update();
}

void HistogramView::setData(std::optional<Histogram> original, std::optional<Histogram> stored,
                            std::optional<Histogram> second) {
  original_ = std::move(original);
  stored_ = std::move(stored);
  second_ = std::move(second);
  update();
}

void HistogramView::setLegend(const QStringList& names) {
  legend_ = names;
  update();
}

void HistogramView::setWhole(double lo, double hi) {
  if (!(hi > lo)) { // one value only: show something around it
    const double margin = std::max(1e-6, std::abs(lo) * 0.1);
    lo -= margin;
    hi += margin;
  }
  whole_lo_ = lo_ = lo;
  whole_hi_ = hi_ = hi;
  update();
}

void HistogramView::setSeriesNames(const QString& original, const QString& stored,
                                   const QString& second) {
  names_[0] = original;
  names_[1] = stored;
  names_[2] = second;
}

void HistogramView::setByShare(bool on) {
  by_share_ = on;
  update();
}

double HistogramView::scaleOf(const Histogram& series) const {
  const Histogram& base = original_ ? *original_ : series;
  const double share = by_share_ && series.total > 0 && base.total > 0
                           ? double(base.total) / double(series.total)
                           : 1;
  return share * binWidth(base) / binWidth(series);
}

void HistogramView::setCodes(std::vector<float> codes) {
  std::sort(codes.begin(), codes.end());
  codes.erase(std::unique(codes.begin(), codes.end()), codes.end());
  codes_ = std::move(codes);
  update();
}

void HistogramView::setClip(std::optional<std::pair<double, double>> clip) {
  clip_ = clip;
  update();
}

void HistogramView::setMarks(std::vector<Mark> marks) {
  marks_ = std::move(marks);
  update();
}

void HistogramView::setLogScale(bool on) {
  log_ = on;
  update();
}

void HistogramView::zoomTo(double lo, double hi) {
  const double least = (whole_hi_ - whole_lo_) * 1e-6;
  lo = std::max(lo, whole_lo_);
  hi = std::min(hi, whole_hi_);
  if (hi - lo < least || (lo == lo_ && hi == hi_))
    return;
  lo_ = lo;
  hi_ = hi;
  settle_.start();
  update();
}

void HistogramView::zoomAround(double value, double factor) {
  zoomTo(value - (value - lo_) * factor, value + (hi_ - value) * factor);
}

QRectF HistogramView::plotArea() const {
  const QFontMetricsF metrics(smallFont());
  return QRectF(rect()).adjusted(metrics.horizontalAdvance(QStringLiteral("88.8 K")) + 8, 6, -8,
                                 -metrics.height() - 8);
}

double HistogramView::toX(double value) const {
  const QRectF area = plotArea();
  return area.left() + (value - lo_) / (hi_ - lo_) * area.width();
}

double HistogramView::toValue(double x) const {
  const QRectF area = plotArea();
  return lo_ + (x - area.left()) / area.width() * (hi_ - lo_);
}

double HistogramView::topCount() const {
  double top = 1;
  for (const auto* series : {&original_, &stored_, &second_})
    if (*series)
      for (std::size_t i = 0; i < (*series)->counts.size(); ++i)
        if ((*series)->edges[i + 1] >= lo_ && (*series)->edges[i] <= hi_)
          top = std::max(top, double((*series)->counts[i]) * scaleOf(**series));
  return top;
}

double HistogramView::toY(double count) const {
  const QRectF area = plotArea();
  const double top = topCount();
  const double part = log_ ? std::log1p(count) / std::log1p(top) : count / top;
  return area.bottom() - part * area.height() * 0.96;
}

void HistogramView::drawSeries(QPainter& painter, const Histogram& histogram, const QColor& color,
                               bool outline) {
  if (histogram.counts.empty())
    return;
  const QRectF area = plotArea();
  const double top = topCount();
  const double norm = scaleOf(histogram);
  const auto y = [&](double count) {
    const double part = log_ ? std::log1p(count) / std::log1p(top) : count / top;
    return area.bottom() - part * area.height() * 0.96;
  };
  QPainterPath path;
  bool open = false;
  double last_x = area.left();
  for (std::size_t i = 0; i < histogram.counts.size(); ++i) {
    if (histogram.edges[i + 1] < lo_ || histogram.edges[i] > hi_)
      continue;
    const double x0 = std::max(toX(histogram.edges[i]), area.left());
    const double x1 = std::min(toX(histogram.edges[i + 1]), area.right());
    if (!open) {
      path.moveTo(x0, area.bottom());
      open = true;
    }
    const double top_y = y(double(histogram.counts[i]) * norm);
    path.lineTo(x0, top_y);
    path.lineTo(x1, top_y);
    last_x = x1;
  }
  if (!open)
    return;
  path.lineTo(last_x, area.bottom());
  QColor fill = color;
  fill.setAlphaF(outline ? 0.16f : 0.62f);
  painter.setPen(Qt::NoPen);
  painter.setBrush(fill);
  painter.drawPath(path);
  if (outline) {
    painter.setBrush(Qt::NoBrush);
    painter.setPen(QPen(color, 1.3));
    painter.drawPath(path);
  }
}

void HistogramView::drawAxes(QPainter& painter) {
  const QRectF area = plotArea();
  painter.setFont(smallFont());
  const QFontMetricsF metrics(smallFont());
  const double top = topCount();
  auto counts = log_ ? decadeTicks(top) : niceTicks(0, top, 4);
  double last_y = area.bottom() + 100;
  for (const auto& tick : counts) {
    const double y = toY(tick.value);
    if (last_y - y < metrics.height())
      continue;
    last_y = y;
    painter.setPen(theme().grid);
    painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y));
    painter.setPen(theme().muted);
    painter.drawText(QRectF(0, y - metrics.height() / 2, area.left() - 6, metrics.height()),
                     Qt::AlignRight | Qt::AlignVCenter, log_ ? tick.text : formatCount(tick.value));
  }
  for (const auto& tick : niceTicks(lo_, hi_, std::max(2, int(area.width() / 70)))) {
    const double x = toX(tick.value);
    painter.setPen(theme().grid);
    painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()));
    painter.setPen(theme().muted);
    const double half = metrics.horizontalAdvance(tick.text) / 2 + 2;
    const double left = std::clamp(x - half, 0.0, width() - 2 * half);
    painter.drawText(QRectF(left, area.bottom() + 4, 2 * half, metrics.height()), Qt::AlignCenter,
                     tick.text);
  }
}

void HistogramView::drawCodes(QPainter& painter) {
  const QRectF area = plotArea();
  // Lines closer than four pixels would only be a grey wall: then ticks at the bottom must do.
  const auto visible = std::count_if(codes_.begin(), codes_.end(), [this](float c) {
    return double(c) >= lo_ && double(c) <= hi_;
  });
  const bool dense = visible > 0 && area.width() / double(visible) < 4;
  QColor line = theme().quantized;
  line.setAlphaF(0.55f);
  painter.setPen(QPen(line, 1, Qt::SolidLine));
  for (const float code : codes_)
    if (double(code) >= lo_ && double(code) <= hi_) {
      const double x = std::round(toX(double(code))) + 0.5;
      painter.drawLine(QPointF(x, dense ? area.bottom() - 8 : area.top()),
                       QPointF(x, area.bottom()));
    }
  if (!clip_)
    return;
  painter.setPen(QPen(theme().outlier, 1.4, Qt::DashLine));
  for (const double at : {clip_->first, clip_->second})
    if (at >= lo_ && at <= hi_)
      painter.drawLine(QPointF(toX(at), area.top()), QPointF(toX(at), area.bottom()));
}

void HistogramView::drawMarks(QPainter& painter) {
  const QRectF area = plotArea();
  painter.setFont(smallFont());
  const QFontMetricsF metrics(smallFont());
  double line = area.top() + metrics.ascent();
  for (const Mark& mark : marks_) {
    painter.setPen(QPen(theme().second, 1.0, Qt::DotLine));
    for (const double at : {mark.lo, mark.hi})
      if (at >= lo_ && at <= hi_)
        painter.drawLine(QPointF(toX(at), line - metrics.ascent()),
                         QPointF(toX(at), area.bottom()));
    // At the upper end where it can be seen, one below the other.
    const double x = std::clamp(toX(std::clamp(mark.hi, lo_, hi_)), area.left(), area.right());
    const double width = metrics.horizontalAdvance(mark.name) + 6;
    painter.setPen(theme().second);
    painter.drawText(QPointF(x + width > area.right() ? x - width : x + 3, line), mark.name);
    line += metrics.height();
  }
}

void HistogramView::drawHover(QPainter& painter) {
  const QRectF area = plotArea();
  if (brush_from_) {
    QColor wash = theme().accent;
    wash.setAlphaF(0.18f);
    painter.fillRect(
        QRectF(QPointF(brush_from_->x(), area.top()), QPointF(brush_to_, area.bottom()))
            .normalized(),
        wash);
  }
  if (!hover_)
    return;
  if (const auto nearest = nearestCode(*hover_)) {
    QColor band = theme().quantized;
    band.setAlphaF(0.20f);
    const double x0 = std::clamp(toX(nearest->lo), area.left(), area.right());
    const double x1 = std::clamp(toX(nearest->hi), area.left(), area.right());
    painter.fillRect(QRectF(x0, area.top(), x1 - x0, area.height()), band);
    painter.setPen(QPen(theme().quantized, 2));
    const double x = toX(double(nearest->code));
    if (x >= area.left() && x <= area.right())
      painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()));
  }
  painter.setPen(QPen(theme().text, 1, Qt::DotLine));
  const double x = toX(*hover_);
  painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()));
}

void HistogramView::drawLegend(QPainter& painter) {
  const std::optional<Histogram>* series[] = {&original_, &stored_, &second_};
  const QColor colors[] = {theme().original, theme().quantized, theme().second};
  QList<std::pair<QColor, QString>> lines;
  for (int i = 0; i < 3 && i < legend_.size(); ++i)
    if (*series[i] && !legend_[i].isEmpty())
      lines.append({colors[i], legend_[i]});
  if (lines.size() < 2)
    return;
  const QFontMetricsF metrics(smallFont());
  const QRectF area = plotArea();
  const double most = std::max(60.0, area.width() * 0.55);
  double width = 0;
  for (auto& [color, text] : lines) {
    text = metrics.elidedText(text, Qt::ElideMiddle, most - 26);
    width = std::max(width, metrics.horizontalAdvance(text));
  }
  const double step = metrics.height() + 2;
  QRectF box(0, area.top() + 2, width + 26, step * double(lines.size()) + 6);
  box.moveRight(area.right() - 2);
  QColor wash = theme().raised;
  wash.setAlphaF(0.82f);
  painter.setPen(Qt::NoPen);
  painter.setBrush(wash);
  painter.drawRoundedRect(box, 4, 4);
  painter.setFont(smallFont());
  double y = box.top() + 3;
  for (const auto& [color, text] : lines) {
    painter.setPen(Qt::NoPen);
    painter.setBrush(color);
    painter.drawRoundedRect(QRectF(box.left() + 6, y + (step - 9) / 2, 9, 9), 2, 2);
    painter.setPen(theme().text);
    painter.drawText(QRectF(box.left() + 20, y, width + 4, step), Qt::AlignVCenter | Qt::AlignLeft,
                     text);
    y += step;
  }
}

void HistogramView::paintEvent(QPaintEvent*) {
  QPainter painter(this);
  painter.setRenderHint(QPainter::Antialiasing);
  if (!original_ && !stored_ && !second_) {
    painter.setPen(theme().muted);
    painter.drawText(rect().adjusted(8, 8, -8, -8), Qt::AlignCenter | Qt::TextWordWrap,
                     problem_.isEmpty() ? tr("counting …") : problem_);
    return;
  }
  drawAxes(painter);
  if (stored_)
    drawSeries(painter, *stored_, theme().quantized, false);
  if (original_)
    drawSeries(painter, *original_, theme().original, stored_ || second_);
  if (second_)
    drawSeries(painter, *second_, theme().second, true);
  drawCodes(painter);
  drawMarks(painter);
  drawHover(painter);
  drawLegend(painter);
  const QRectF area = plotArea();
  painter.setPen(theme().border);
  painter.drawLine(area.bottomLeft(), area.bottomRight());
  if (hasFocus()) {
    painter.setBrush(Qt::NoBrush);
    painter.setPen(QPen(theme().accent, 1));
    painter.drawRoundedRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4);
  }
}

std::optional<HistogramView::Nearest> HistogramView::nearestCode(double value) const {
  if (codes_.empty())
    return std::nullopt;
  auto it = std::lower_bound(codes_.begin(), codes_.end(), float(value));
  if (it == codes_.end() ||
      (it != codes_.begin() && value - double(*(it - 1)) < double(*it) - value))
    --it;
  Nearest nearest;
  nearest.code = *it;
  nearest.lo = it == codes_.begin() ? whole_lo_ : (double(*(it - 1)) + double(*it)) / 2;
  nearest.hi = it + 1 == codes_.end() ? whole_hi_ : (double(*it) + double(*(it + 1))) / 2;
  return nearest;
}

void HistogramView::wheelEvent(QWheelEvent* event) {
  zoomAround(std::clamp(toValue(event->position().x()), lo_, hi_),
             std::pow(0.8, event->angleDelta().y() / 120.0));
  event->accept();
}

void HistogramView::mousePressEvent(QMouseEvent* event) {
  if (event->button() != Qt::LeftButton)
    return;
  brush_from_ = event->position();
  brush_to_ = event->position().x();
}

void HistogramView::mouseMoveEvent(QMouseEvent* event) {
  const QRectF area = plotArea();
  brush_to_ = std::clamp(event->position().x(), area.left(), area.right());
  hover_ = toValue(brush_to_);
  Q_EMIT hovered(original_ || stored_ ? readout(*hover_) : QString());
  update();
}

void HistogramView::mouseReleaseEvent(QMouseEvent* event) {
  if (event->button() != Qt::LeftButton || !brush_from_)
    return;
  const double a = toValue(brush_from_->x()), b = toValue(brush_to_);
  const bool dragged = std::abs(brush_from_->x() - brush_to_) > 5;
  brush_from_.reset();
  if (dragged)
    zoomTo(std::min(a, b), std::max(a, b));
  update();
}

void HistogramView::mouseDoubleClickEvent(QMouseEvent*) {
  brush_from_.reset();
  resetZoom();
}

void HistogramView::keyPressEvent(QKeyEvent* event) {
  const double middle = (lo_ + hi_) / 2, step = (hi_ - lo_) * 0.2;
  switch (event->key()) {
  case Qt::Key_Plus:
  case Qt::Key_Equal:
    zoomAround(middle, 0.7);
    break;
  case Qt::Key_Minus:
    zoomAround(middle, 1 / 0.7);
    break;
  case Qt::Key_Left: {
    const double by = std::min(step, lo_ - whole_lo_);
    zoomTo(lo_ - by, hi_ - by);
    break;
  }
  case Qt::Key_Right: {
    const double by = std::min(step, whole_hi_ - hi_);
    zoomTo(lo_ + by, hi_ + by);
    break;
  }
  case Qt::Key_0:
  case Qt::Key_Home:
    resetZoom();
    break;
  default:
    QWidget::keyPressEvent(event);
  }
}

void HistogramView::leaveEvent(QEvent*) {
  hover_.reset();
  Q_EMIT hovered({});
  update();
}

} // namespace bitlathe::gui
