// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/export/format_delegate.h"

#include "app/gui/export/formats_model.h"
#include "app/gui/theme.h"

#include <QPainter>

namespace bitlathe::gui {

QSize FormatDelegate::sizeHint(const QStyleOptionViewItem& option, const QModelIndex&) const {
  return {200, QFontMetrics(option.font).height() + 2 * QFontMetrics(smallFont()).height() + 24};
}

void FormatDelegate::paint(QPainter* painter, const QStyleOptionViewItem& option,
                           const QModelIndex& index) const {
  const ThemeColors& c = theme();
  painter->save();
  painter->setRenderHint(QPainter::Antialiasing);
  const QRectF box = QRectF(option.rect).adjusted(1.5, 2.5, -3.5, -2.5);
  const bool chosen = option.state & QStyle::State_Selected;
  const bool under = option.state & QStyle::State_MouseOver;
  painter->setPen(QPen(chosen ? c.accent : c.border, chosen ? 1.8 : 1));
  painter->setBrush(chosen ? mixed(c.raised, c.selection, 0.55) : under ? c.hover : c.raised);
  painter->drawRoundedRect(box, 8, 8);

  const QRectF words = box.adjusted(12, 7, -10, -7);
  QFont bold = option.font;
  bold.setWeight(QFont::DemiBold);
  const QFontMetrics metrics(smallFont());
  const double line = QFontMetricsF(bold).height(), small = metrics.height();
  painter->setFont(bold);
  painter->setPen(c.text);
  painter->drawText(
      QRectF(words.left(), words.top(), words.width(), line), Qt::AlignVCenter,
      QFontMetrics(bold).elidedText(index.data().toString(), Qt::ElideRight, int(words.width())));
  painter->setFont(smallFont());
  painter->setPen(c.muted);
  painter->drawText(QRectF(words.left(), words.top() + line + 1, words.width(), small),
                    Qt::AlignVCenter,
                    metrics.elidedText(index.data(FormatsModel::LoadersRole).toString(),
                                       Qt::ElideRight, int(words.width())));
  const auto state = FormatState(index.data(FormatsModel::RowStateRole).toInt());
  QString mark;
  QColor color = c.muted;
  if (state == FormatState::fits)
    mark = QStringLiteral("\u2713 "), color = c.ok;
  else if (state == FormatState::warned)
    mark = QStringLiteral("! "), color = c.warning;
  else if (state == FormatState::refuses)
    mark = QStringLiteral("\u2715 "), color = c.error;
  painter->setPen(color);
  painter->drawText(QRectF(words.left(), words.bottom() - small, words.width(), small),
                    Qt::AlignVCenter,
                    metrics.elidedText(mark + index.data(FormatsModel::StateTextRole).toString(),
                                       Qt::ElideRight, int(words.width())));
  painter->restore();
}

} // namespace bitlathe::gui
