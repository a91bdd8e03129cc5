// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/evaluate/figure_delegate.h"

#include "app/gui/compare/contender_pane.h"
#include "app/gui/evaluate/figures_model.h"
#include "app/gui/theme.h"

#include <QPainter>

namespace bitlathe::gui {

void FigureDelegate::paint(QPainter* painter, const QStyleOptionViewItem& option,
                           const QModelIndex& index) const {
  QStyleOptionViewItem cell = option;
  initStyleOption(&cell, index);
  cell.text.clear();
  cell.widget->style()->drawControl(QStyle::CE_ItemViewItem, &cell, painter, cell.widget);
  const ThemeColors& c = theme();
  painter->save();
  painter->setRenderHint(QPainter::Antialiasing);
  painter->setPen(Qt::NoPen);
  painter->setBrush(contenderColor(index.row()));
  const QRect r = option.rect.adjusted(4, 4, -4, -4);
  painter->drawRoundedRect(QRectF(r.left(), r.top() + 1, 4, r.height() - 2), 2, 2);
  const QRect words = r.adjusted(12, 0, 0, 0);
  const QFontMetrics metrics(option.font);
  painter->setPen(c.text);
  painter->drawText(words, Qt::AlignLeft | Qt::AlignTop,
                    metrics.elidedText(index.data().toString(), Qt::ElideRight, words.width()));
  const auto standing = Standing(index.data(FiguresModel::standing_role).toInt());
  painter->setPen(standing == Standing::same || standing == Standing::better ? c.ok
                  : standing == Standing::broken                             ? c.error
                  : standing == Standing::worse                              ? c.warning
                                                                             : c.muted);
  painter->setFont(smallFont());
  painter->drawText(words, Qt::AlignLeft | Qt::AlignBottom,
                    QFontMetrics(painter->font())
                        .elidedText(index.siblingAtColumn(FiguresModel::verdict).data().toString(),
                                    Qt::ElideRight, words.width()));
  painter->restore();
}

} // namespace bitlathe::gui
