// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/evaluate/breakdown_chart.h"

#include "app/gui/compare/contender_pane.h"
#include "app/gui/format.h"
#include "app/gui/inspect/plot_axes.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/save_menu.h"

#include <algorithm>
#include <cmath>
#include <QHelpEvent>
#include <QPainter>
#include <QToolTip>

namespace bitlathe::gui {

BreakdownChart::BreakdownChart(QWidget* parent) : QWidget(parent) {
  setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Expanding);
}

void BreakdownChart::setParts(const std::vector<PartFigures>& parts, double mean, int color) {
  parts_ = parts;
  mean_ = mean;
  color_ = color;
  update();
}

void BreakdownChart::setMeasure(Measure measure) {
  measure_ = measure;
  update();
}

double BreakdownChart::value(const PartFigures& part) const {
  return measure_ == Measure::kl ? part.kld_mean : part.nll_difference;
}

QRectF BreakdownChart::bars() const {
  const QFontMetrics metrics(smallFont());
  double names = 0, counts = metrics.horizontalAdvance(QStringLiteral("0.00000 \u00b1 0.00000"));
  for (const PartFigures& part : parts_)
    names = std::max(names, double(metrics.horizontalAdvance(QString::fromStdString(part.name))));
  return QRectF(rect()).adjusted(names + 12, 4, -counts - 10, -metrics.height() - 6.0);
}

double BreakdownChart::rowHeight() const {
  return parts_.empty() ? 0 : std::min(30.0, bars().height() / double(parts_.size()));
}

void BreakdownChart::paintEvent(QPaintEvent*) {
  const ThemeColors& c = theme();
  QPainter painter(this);
  painter.setRenderHint(QPainter::Antialiasing);
  painter.setFont(smallFont());
  const QFontMetrics metrics(painter.font());
  if (parts_.empty()) {
    painter.setPen(c.muted);
    painter.drawText(rect(), Qt::AlignCenter | Qt::TextWordWrap,
                     tr("Bars appear here when a model is measured against the original"));
    return;
  }
  const QRectF area = bars();
  double low = 0, high = 0;
  for (const PartFigures& part : parts_) {
    const double e = measure_ == Measure::kl ? part.kld_stderr : 0;
    if (!std::isfinite(value(part)))
      continue;
    low = std::min(low, value(part) - e);
    high = std::max(high, value(part) + e);
  }
  if (measure_ == Measure::kl)
    low = 0;
  if (!(high > low))
    high = low + 1;
  const auto x = [&](double v) { return area.left() + (v - low) / (high - low) * area.width(); };
  const double row = rowHeight(), bottom = area.top() + row * double(parts_.size());
  for (const Tick& tick : niceTicks(low, high, std::max(2, int(area.width() / 90)))) {
    painter.setPen(c.grid);
    painter.drawLine(QPointF(x(tick.value), area.top()), QPointF(x(tick.value), bottom));
    painter.setPen(c.muted);
    painter.drawText(QRectF(x(tick.value) - 45, bottom + 3, 90, metrics.height()), Qt::AlignHCenter,
                     tick.text);
  }
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    const PartFigures& part = parts_[i];
    const double y = area.top() + row * double(i), v = value(part);
    painter.setPen(c.text);
    painter.drawText(QRectF(0, y, area.left() - 8, row), Qt::AlignRight | Qt::AlignVCenter,
                     QString::fromStdString(part.name));
    if (!std::isfinite(v))
      continue;
    QRectF bar(QPointF(x(0), y + row * 0.16), QPointF(x(v), y + row * 0.84));
    painter.fillRect(bar.normalized(), contenderColor(color_));
    if (measure_ == Measure::kl && part.kld_stderr > 0) {
      const double mid = y + row / 2;
      painter.setPen(QPen(c.text, 1.2));
      painter.drawLine(QPointF(x(std::max(low, v - part.kld_stderr)), mid),
                       QPointF(x(v + part.kld_stderr), mid));
    }
    painter.setPen(c.muted);
    painter.drawText(QRectF(area.right() + 6, y, width() - area.right() - 6, row),
                     Qt::AlignLeft | Qt::AlignVCenter,
                     measure_ == Measure::kl ? formatError(v, part.kld_stderr)
                                             : formatNumber(v, 3));
  }
  if (measure_ == Measure::kl && mean_ > low && mean_ < high) {
    painter.setPen(QPen(c.text, 1, Qt::DashLine));
    painter.drawLine(QPointF(x(mean_), area.top()), QPointF(x(mean_), bottom));
  }
}

bool BreakdownChart::event(QEvent* event) {
  if (event->type() != QEvent::ToolTip)
    return QWidget::event(event);
  auto* help = static_cast<QHelpEvent*>(event);
  const double row = rowHeight();
  const int at = row > 0 ? int(std::floor((help->pos().y() - bars().top()) / row)) : -1;
  if (at < 0 || at >= int(parts_.size())) {
    QToolTip::hideText();
    return true;
  }
  const PartFigures& part = parts_[std::size_t(at)];
  QToolTip::showText(help->globalPos(),
                     tr("%1\n%2 tokens\nKL divergence %3\nNLL %4 above the original's\n"
                        "The dashed line is the mean of all tokens")
                         .arg(QString::fromStdString(part.name), formatGrouped(part.tokens),
                              formatError(part.kld_mean, part.kld_stderr),
                              formatNumber(part.nll_difference, 3)),
                     this);
  return true;
}

QString BreakdownChart::csv() const {
  QString out = QStringLiteral("part,tokens,kld_mean,kld_stderr,nll_difference\n");
  for (const PartFigures& part : parts_)
    out += QStringLiteral("%1,%2,%3,%4,%5\n")
               .arg(csvField(QString::fromStdString(part.name)))
               .arg(part.tokens)
               .arg(part.kld_mean, 0, 'g', 10)
               .arg(part.kld_stderr, 0, 'g', 8)
               .arg(part.nll_difference, 0, 'g', 10);
  return out;
}

} // namespace bitlathe::gui
