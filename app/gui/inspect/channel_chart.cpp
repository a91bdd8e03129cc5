// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/inspect/channel_chart.h"

#include "app/gui/format.h"
#include "app/gui/inspect/plot_axes.h"
#include "app/gui/theme.h"

#include <algorithm>
#include <cmath>
#include <QAreaSeries>
#include <QChart>
#include <QLineSeries>
#include <QMouseEvent>
#include <QScatterSeries>
#include <QValueAxis>
#include <QWheelEvent>

namespace bitlathe::gui {

namespace {

constexpr std::size_t most_points = 400, most_marks = 60;

float absmax(float low, float high) { return std::max(std::abs(low), std::abs(high)); }

} // namespace

ChannelChart::ChannelChart(QWidget* parent)
    : QChartView(parent), upper_(new QLineSeries(this)), lower_(new QLineSeries(this)),
      band_(new QAreaSeries(upper_, lower_)), marks_(new QScatterSeries), x_axis_(new QValueAxis),
      y_axis_(new QValueAxis) {
  setMouseTracking(true);
  setAccessibleName(tr("Range of every channel"));
  setFrameShape(QFrame::NoFrame);
  auto* c = chart();
  c->legend()->hide();
  c->setMargins(QMargins(0, 0, 0, 0));
  c->setBackgroundRoundness(0);
  c->setBackgroundVisible(false);
  c->addSeries(band_);
  c->addSeries(marks_);
  c->addAxis(x_axis_, Qt::AlignBottom);
  c->addAxis(y_axis_, Qt::AlignLeft);
  for (QAbstractSeries* series :
       {static_cast<QAbstractSeries*>(band_), static_cast<QAbstractSeries*>(marks_)}) {
    series->attachAxis(x_axis_);
    series->attachAxis(y_axis_);
  }
  x_axis_->setLabelFormat(QStringLiteral("%d"));
  for (auto* axis : {x_axis_, y_axis_}) {
    axis->setTickType(QValueAxis::TicksDynamic);
    axis->setTickAnchor(0);
  }
  y_axis_->setLabelFormat(QStringLiteral("%.3g"));
  marks_->setMarkerSize(6);
  setRenderHint(QPainter::Antialiasing);
  connect(&Theme::instance(), &Theme::changed, this, &ChannelChart::recolor);
  recolor();
}

void ChannelChart::recolor() {
  const ThemeColors& c = theme();
  setBackgroundBrush(c.raised);
  QColor fill = c.original;
  fill.setAlphaF(0.35f);
  band_->setBrush(fill);
  band_->setPen(QPen(c.original, 1.2));
  marks_->setColor(c.outlier);
  marks_->setBorderColor(c.raised);
  for (QValueAxis* axis : {x_axis_, y_axis_}) {
    axis->setLabelsFont(smallFont());
    axis->setLabelsColor(c.muted);
    axis->setGridLineColor(c.grid);
    axis->setLinePenColor(c.border);
  }
}

void ChannelChart::setRanges(std::vector<float> low, std::vector<float> high, double factor) {
  low_ = std::move(low);
  high_ = std::move(high);
  outlier_channels_.clear();
  const std::size_t n = low_.size();
  from_ = 0;
  to_ = double(std::max<std::size_t>(n, 2) - 1);
  if (n > 0) {
    std::vector<float> sizes(n);
    for (std::size_t i = 0; i < n; ++i)
      sizes[i] = absmax(low_[i], high_[i]);
    std::vector<float> sorted = sizes;
    std::nth_element(sorted.begin(), sorted.begin() + std::ptrdiff_t(n / 2), sorted.end());
    const double limit = double(sorted[n / 2]) * factor;
    for (std::size_t i = 0; i < n; ++i)
      if (double(sizes[i]) > limit)
        outlier_channels_.push_back(i);
    std::sort(outlier_channels_.begin(), outlier_channels_.end(),
              [&](std::size_t a, std::size_t b) { return sizes[a] > sizes[b]; });
  }
  redraw();
}

void ChannelChart::redraw() {
  QList<QPointF> upper, lower, marks;
  double lowest = 0, highest = 0;
  if (!low_.empty()) {
    const auto first = std::size_t(std::clamp(from_, 0.0, double(low_.size() - 1)));
    const auto last = std::min(low_.size(), std::size_t(std::ceil(to_)) + 1);
    const std::size_t step = std::max<std::size_t>(1, (last - first) / most_points);
    for (std::size_t i = first; i < last; i += step) {
      const std::size_t end = std::min(last, i + step);
      const float low =
          *std::min_element(low_.begin() + std::ptrdiff_t(i), low_.begin() + std::ptrdiff_t(end));
      const float high =
          *std::max_element(high_.begin() + std::ptrdiff_t(i), high_.begin() + std::ptrdiff_t(end));
      const double x = double(i) + double(end - i - 1) / 2;
      lower.append({x, double(low)});
      upper.append({x, double(high)});
      lowest = std::min(lowest, double(low));
      highest = std::max(highest, double(high));
    }
    for (const std::size_t i : outlier_channels_) {
      if (marks.size() >= qsizetype(most_marks))
        break;
      if (i >= first && i < last)
        marks.append(
            {double(i), double(std::abs(low_[i]) > std::abs(high_[i]) ? low_[i] : high_[i])});
    }
  }
  upper_->replace(upper);
  lower_->replace(lower);
  marks_->replace(marks);
  const double margin = (highest - lowest) * 0.05;
  const auto setAxis = [](QValueAxis* axis, double from, double to) {
    // The interval first would fill the old range with thousands of ticks, or the other way round.
    const auto ticks = niceTicks(from, to, 4);
    const double step = ticks.size() > 1 ? ticks[1].value - ticks[0].value : to - from;
    axis->setTickInterval(std::max(step, axis->max() - axis->min()));
    axis->setRange(from, to);
    axis->setTickInterval(step);
  };
  setAxis(x_axis_, from_, std::max(to_, from_ + 1));
  setAxis(y_axis_, lowest - margin, highest > lowest ? highest + margin : lowest + 1);
}

void ChannelChart::mouseMoveEvent(QMouseEvent* event) {
  const QPointF value = chart()->mapToValue(event->position(), band_);
  const auto i = std::int64_t(std::llround(value.x()));
  if (i < 0 || i >= std::int64_t(low_.size()) || !chart()->plotArea().contains(event->position())) {
    Q_EMIT hovered({});
    return;
  }
  const auto channel = std::size_t(i);
  const bool outlier = std::find(outlier_channels_.begin(), outlier_channels_.end(), channel) !=
                       outlier_channels_.end();
  Q_EMIT hovered(tr("channel %1  ·  %2 to %3%4")
                     .arg(i)
                     .arg(formatNumber(double(low_[channel]), 3),
                          formatNumber(double(high_[channel]), 3),
                          outlier ? tr("  ·  outlier") : QString()));
}

void ChannelChart::leaveEvent(QEvent*) { Q_EMIT hovered({}); }

void ChannelChart::mouseDoubleClickEvent(QMouseEvent*) {
  from_ = 0;
  to_ = double(std::max<std::size_t>(low_.size(), 2) - 1);
  redraw();
}

void ChannelChart::wheelEvent(QWheelEvent* event) {
  const double last = double(std::max<std::size_t>(low_.size(), 2) - 1);
  const double at = std::clamp(chart()->mapToValue(event->position(), band_).x(), from_, to_);
  const double factor = std::pow(0.8, event->angleDelta().y() / 120.0);
  const double from = at - (at - from_) * factor, to = at + (to_ - at) * factor;
  if (to - from >= std::min(8.0, last)) {
    from_ = std::max(0.0, from);
    to_ = std::min(last, to);
    redraw();
  }
  event->accept();
}

QString ChannelChart::csv() const {
  QString out = QStringLiteral("channel,min,max\n");
  for (std::size_t i = 0; i < low_.size(); ++i)
    out += QStringLiteral("%1,%2,%3\n")
               .arg(i)
               .arg(double(low_[i]), 0, 'g', 9)
               .arg(double(high_[i]), 0, 'g', 9);
  return out;
}

} // namespace bitlathe::gui
