// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/quantize/size_bars.h"

#include "app/gui/format.h"
#include "app/gui/theme.h"

#include <QHelpEvent>
#include <QPainter>
#include <QPainterPath>
#include <QToolTip>

namespace bitlathe::gui {
namespace {

constexpr int bar_height = 12, gap = 5;

} // namespace

SizeBars::SizeBars(QWidget* parent) : QWidget(parent) {
  setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
}

void SizeBars::set(quint64 before, const std::map<double, quint64>& after, bool predicted) {
  before_ = before;
  after_ = after;
  predicted_ = predicted;
  setAccessibleName(tr("Size before %1, after %2").arg(formatBytes(before_), formatBytes(total())));
  update();
}

quint64 SizeBars::total() const {
  quint64 sum = 0;
  for (const auto& [bits, bytes] : after_)
    sum += bytes;
  return sum;
}

QSize SizeBars::sizeHint() const { return {480, 2 * bar_height + gap + 2}; }

void SizeBars::paintEvent(QPaintEvent*) {
  if (before_ == 0)
    return;
  const ThemeColors& c = theme();
  QPainter painter(this);
  painter.setRenderHint(QPainter::Antialiasing);
  painter.setFont(smallFont());
  const QFontMetrics metrics(painter.font());
  const quint64 after = total();
  const QString beforeText = tr("%1 source").arg(formatBytes(before_));
  const QString afterText = tr("%1 %2, %3 of the source")
                                .arg(formatBytes(after), predicted_ ? tr("foreseen") : tr("stored"),
                                     formatPercent(double(after) / double(before_)));
  const int label =
      std::max(metrics.horizontalAdvance(beforeText), metrics.horizontalAdvance(afterText)) + 12;
  const double width = std::max(40, this->width() - label);
  const double scale = width / double(std::max(before_, after));

  QRectF row(0, 1, double(before_) * scale, bar_height);
  painter.setPen(Qt::NoPen);
  painter.setBrush(c.original);
  painter.drawRoundedRect(row, 3, 3);
  painter.setPen(c.muted);
  painter.drawText(QRectF(width + 12, row.top(), label, bar_height), Qt::AlignVCenter, beforeText);

  row = QRectF(0, 1 + bar_height + gap, double(after) * scale, bar_height);
  QPainterPath clip;
  clip.addRoundedRect(row, 3, 3);
  painter.save();
  painter.setClipPath(clip);
  double x = 0;
  for (const auto& [bits, bytes] : after_) {
    const double part = double(bytes) * scale;
    painter.fillRect(QRectF(x, row.top(), part, bar_height), precisionColor(bits));
    x += part;
  }
  painter.restore();
  painter.setPen(c.text);
  painter.drawText(QRectF(width + 12, row.top(), label, bar_height), Qt::AlignVCenter, afterText);
}

bool SizeBars::event(QEvent* event) {
  if (event->type() != QEvent::ToolTip)
    return QWidget::event(event);
  QString text = tr("Tensor bytes of the whole model, before and after.");
  for (const auto& [bits, bytes] : after_)
    text += QStringLiteral("\n%1 bit: %2").arg(bits, 0, 'g', 3).arg(formatBytes(bytes));
  QToolTip::showText(static_cast<QHelpEvent*>(event)->globalPos(), text, this);
  return true;
}

} // namespace bitlathe::gui
