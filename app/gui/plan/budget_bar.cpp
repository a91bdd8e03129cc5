// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/plan/budget_bar.h"

#include "app/gui/format.h"
#include "app/gui/theme.h"

#include <algorithm>
#include <QHelpEvent>
#include <QPainter>
#include <QPainterPath>
#include <QToolTip>

namespace bitlathe::gui {

BudgetBar::BudgetBar(QWidget* parent) : QWidget(parent) {
  setAccessibleName(tr("Predicted size by precision"));
  connect(&Theme::instance(), &Theme::changed, this, qOverload<>(&QWidget::update));
}

void BudgetBar::setPlan(const Plan* plan) {
  segments_.clear();
  before_ = after_ = 0;
  if (plan) {
    before_ = plan->bytes_before;
    after_ = plan->bytes_after;
    for (const auto& module : plan->modules) {
      const QString id = QString::fromStdString(module.scheme.id);
      auto it = std::find_if(segments_.begin(), segments_.end(),
                             [&](const Segment& s) { return s.scheme == id; });
      if (it == segments_.end())
        it = segments_.insert(segments_.end(), Segment{id, module.scheme.bits, 0, 0});
      it->bytes += module.bytes_after;
      ++it->modules;
    }
    std::sort(segments_.begin(), segments_.end(),
              [](const Segment& a, const Segment& b) { return a.bits < b.bits; });
  }
  update();
}

void BudgetBar::setBudget(quint64 bytes) {
  budget_ = bytes;
  update();
}

QRectF BudgetBar::barArea() const { return QRectF(0.5, 18, width() - 1, 20); }

QRectF BudgetBar::segmentArea(int index) const {
  const QRectF bar = barArea();
  const double whole = double(std::max({before_, after_, budget_, quint64(1)}));
  quint64 start = 0;
  for (int i = 0; i < index; ++i)
    start += segments_[i].bytes;
  return {bar.left() + bar.width() * double(start) / whole, bar.top(),
          bar.width() * double(segments_[index].bytes) / whole, bar.height()};
}

void BudgetBar::paintEvent(QPaintEvent*) {
  QPainter painter(this);
  painter.setRenderHint(QPainter::Antialiasing);
  const QRectF bar = barArea();
  QPainterPath shape;
  shape.addRoundedRect(bar, 5, 5);
  painter.fillPath(shape, theme().grid);
  painter.save();
  painter.setClipPath(shape);
  for (int i = 0; i < segments_.size(); ++i) {
    const QRectF area = segmentArea(i);
    painter.fillRect(area, precisionColor(segments_[i].bits));
    painter.setPen(QPen(theme().raised, 1));
    painter.drawLine(area.topRight(), area.bottomRight());
  }
  painter.restore();
  painter.setFont(smallFont());
  const QFontMetricsF metrics(smallFont());
  if (budget_ > 0 && before_ > 0) {
    const double whole = double(std::max({before_, after_, budget_}));
    const double x = bar.left() + bar.width() * double(budget_) / whole;
    const QColor color = after_ > budget_ ? theme().error : theme().ok;
    painter.setPen(QPen(color, 2));
    painter.drawLine(QPointF(x, bar.top() - 4), QPointF(x, bar.bottom() + 4));
    const QString text = tr("budget %1").arg(formatBytes(budget_));
    const double text_width = metrics.horizontalAdvance(text) + 4;
    painter.drawText(
        QRectF(std::clamp(x - text_width / 2, 0.0, width() - text_width), 0, text_width, 14),
        Qt::AlignCenter, text);
  }
  // Legend: what does not fit is in the tooltips.
  double x = 0;
  for (const auto& segment : segments_) {
    const QString text = segment.scheme + "  " + formatBytes(segment.bytes);
    const double text_width = metrics.horizontalAdvance(text);
    if (x + 14 + text_width > width())
      break;
    painter.setPen(Qt::NoPen);
    painter.setBrush(precisionColor(segment.bits));
    painter.drawRoundedRect(QRectF(x, bar.bottom() + 14, 9, 9), 2, 2);
    painter.setPen(theme().muted);
    painter.drawText(QRectF(x + 14, bar.bottom() + 9, text_width + 4, 18),
                     Qt::AlignLeft | Qt::AlignVCenter, text);
    x += 14 + text_width + 18;
  }
}

bool BudgetBar::event(QEvent* event) {
  if (event->type() == QEvent::ToolTip) {
    const auto* help = static_cast<QHelpEvent*>(event);
    for (int i = 0; i < segments_.size(); ++i)
      if (segmentArea(i).contains(help->pos())) {
        const Segment& s = segments_[i];
        QToolTip::showText(
            help->globalPos(),
            tr("%1: %n modules, %2 (%3 of the result)", nullptr, s.modules)
                .arg(s.scheme, formatBytes(s.bytes),
                     formatPercent(double(s.bytes) / double(std::max<quint64>(after_, 1)))),
            this);
        return true;
      }
    QToolTip::showText(help->globalPos(),
                       tr("Bytes after quantization by precision; the grey part is what the source "
                          "takes more"),
                       this);
    return true;
  }
  return QWidget::event(event);
}

} // namespace bitlathe::gui
