// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/evaluate/speed_chart.h"

#include "app/gui/compare/contender_pane.h"
#include "app/gui/format.h"
#include "app/gui/inspect/plot_axes.h"
#include "app/gui/theme.h"

#include <algorithm>
#include <cmath>
#include <QHelpEvent>
#include <QPainter>
#include <QToolTip>
#include <set>

namespace bitlathe::gui {

SpeedChart::SpeedChart(QWidget* parent) : QWidget(parent) {
  setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Expanding);
}

void SpeedChart::setReport(const SpeedReport& report, const QList<int>& colors) {
  report_ = report;
  colors_ = colors;
  update();
}

void SpeedChart::setMeasure(Measure measure) {
  measure_ = measure;
  update();
}

const Spread& SpeedChart::spread(const SpeedPoint& point) const {
  return measure_ == Measure::generated ? point.rate
         : measure_ == Measure::prompt  ? point.prompt_rate
                                        : point.first_seconds;
}

void SpeedChart::paintEvent(QPaintEvent*) {
  const ThemeColors& c = theme();
  QPainter painter(this);
  painter.setRenderHint(QPainter::Antialiasing);
  painter.setFont(smallFont());
  const QFontMetrics metrics(painter.font());
  bars_.clear();
  std::set<std::pair<std::int64_t, std::int64_t>> groups; // length, sequences
  double high = 0;
  for (const SpeedResult& model : report_.models)
    for (const SpeedPoint& point : model.points) {
      groups.insert({point.context, point.batch});
      if (const double top = spread(point).high(); std::isfinite(top))
        high = std::max(high, top);
    }
  if (groups.empty() || high <= 0) {
    painter.setPen(c.muted);
    painter.drawText(rect(), Qt::AlignCenter | Qt::TextWordWrap,
                     tr("Bars appear here when speed is measured"));
    return;
  }
  high *= 1.08;
  const QRectF area = QRectF(rect()).adjusted(
      metrics.horizontalAdvance(QStringLiteral("00000")) + 22, 6, -6, -2.0 * metrics.height() - 8);
  const auto y = [&](double v) { return area.bottom() - v / high * area.height(); };
  for (const Tick& tick : niceTicks(0, high, std::max(2, int(area.height() / 40)))) {
    painter.setPen(c.grid);
    painter.drawLine(QPointF(area.left(), y(tick.value)), QPointF(area.right(), y(tick.value)));
    painter.setPen(c.muted);
    painter.drawText(QRectF(0, y(tick.value) - 9, area.left() - 6, 18),
                     Qt::AlignRight | Qt::AlignVCenter, tick.text);
  }
  const double slot = area.width() / double(groups.size());
  const double width = std::min(34.0, slot * 0.8 / double(report_.models.size()));
  std::size_t g = 0;
  std::int64_t context = -1;
  for (const auto& [length, batch] : groups) {
    const double middle = area.left() + (double(g) + 0.5) * slot;
    painter.setPen(c.muted);
    painter.drawText(QRectF(middle - slot / 2, area.bottom() + 3, slot, metrics.height()),
                     Qt::AlignHCenter, QStringLiteral("\u00d7\u2009%1").arg(batch));
    if (length != context) {
      std::size_t same = 0;
      for (const auto& other : groups)
        same += other.first == length;
      painter.setPen(c.text);
      painter.drawText(QRectF(middle - slot / 2, area.bottom() + 4 + metrics.height(),
                              slot * double(same), metrics.height()),
                       Qt::AlignHCenter,
                       metrics.elidedText(tr("prompt of %1 tokens").arg(length), Qt::ElideRight,
                                          int(slot * double(same))));
      if (context >= 0) {
        painter.setPen(c.border);
        painter.drawLine(QPointF(middle - slot / 2, area.top()),
                         QPointF(middle - slot / 2, area.bottom() + metrics.height()));
      }
      context = length;
    }
    double x = middle - width * double(report_.models.size()) / 2;
    for (std::size_t m = 0; m < report_.models.size(); ++m, x += width)
      for (const SpeedPoint& point : report_.models[m].points) {
        if (point.context != length || point.batch != batch)
          continue;
        const Spread& found = spread(point);
        const double v = found.median();
        const QString title = QString::fromStdString(report_.models[m].title);
        if (!point.problem.empty() || !std::isfinite(v)) {
          painter.setPen(c.muted);
          painter.drawText(QRectF(x, area.bottom() - metrics.height() - 1, width, metrics.height()),
                           Qt::AlignCenter, QStringLiteral("\u2013"));
          bars_.append(
              {QRectF(x, area.top(), width, area.height()),
               tr("%1: not measured\n%2").arg(title, QString::fromStdString(point.problem))});
          continue;
        }
        const QRectF bar(x + 1, y(v), std::max(1.0, width - 2), area.bottom() - y(v));
        painter.fillRect(bar, contenderColor(colors_.value(qsizetype(m), int(m))));
        painter.setPen(QPen(c.text, 1.2));
        painter.drawLine(QPointF(bar.center().x(), y(found.low())),
                         QPointF(bar.center().x(), y(found.high())));
        const QString unit = measure_ == Measure::first ? tr("s") : tr("tok/s");
        bars_.append({QRectF(x, area.top(), width, area.height()),
                      tr("%1\n%2 sequences of %3 tokens\n%4 %5 (%6 to %7 in %8 runs)")
                          .arg(title)
                          .arg(batch)
                          .arg(length)
                          .arg(formatNumber(v, 3), unit, formatNumber(found.low(), 3),
                               formatNumber(found.high(), 3))
                          .arg(found.runs.size())});
      }
    ++g;
  }
  painter.setPen(c.border);
  painter.drawLine(area.bottomLeft(), area.bottomRight());
}

bool SpeedChart::event(QEvent* event) {
  if (event->type() != QEvent::ToolTip)
    return QWidget::event(event);
  auto* help = static_cast<QHelpEvent*>(event);
  for (const Bar& bar : bars_)
    if (bar.box.contains(help->pos())) {
      QToolTip::showText(help->globalPos(), bar.tip, this);
      return true;
    }
  QToolTip::hideText();
  return true;
}

} // namespace bitlathe::gui
