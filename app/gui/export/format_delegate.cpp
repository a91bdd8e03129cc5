// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/export/format_delegate.h"

#include "app/gui/export/formats_model.h"
#include "app/gui/theme.h"

#include <algorithm>
#include <QPainter>
#include <QPainterPath>

namespace bitlathe::gui {

void HoldsDelegate::paint(QPainter* painter, const QStyleOptionViewItem& option,
                          const QModelIndex& index) const {
  QStyleOptionViewItem cell = option;
  initStyleOption(&cell, index);
  const QString text = cell.text;
  cell.text.clear();
  cell.widget->style()->drawControl(QStyle::CE_ItemViewItem, &cell, painter, cell.widget);
  const ThemeColors& c = theme();
  const QRect inner = option.rect.adjusted(6, 0, -8, 0);
  const QFontMetrics metrics(smallFont());
  const int words = metrics.horizontalAdvance(QStringLiteral("888 of 888 "));
  painter->save();
  painter->setRenderHint(QPainter::Antialiasing);
  painter->setFont(smallFont());
  painter->setPen(c.text);
  painter->drawText(QRect(inner.left(), inner.top(), words, inner.height()),
                    Qt::AlignLeft | Qt::AlignVCenter, text);
  const QVariantList parts = index.data(FormatsModel::PartsRole).toList();
  double total = 0;
  for (const QVariant& part : parts)
    total += part.toDouble();
  if (total > 0 && inner.width() > words + 24) {
    const QRectF bar(inner.left() + words, inner.center().y() - 4, inner.width() - words, 9);
    QPainterPath shape;
    shape.addRoundedRect(bar, 4, 4);
    painter->fillPath(shape, c.grid);
    painter->setClipPath(shape);
    const QColor colors[] = {c.quantized, c.outlier, c.error};
    double x = bar.left();
    for (int i = 0; i < 3 && i < parts.size(); ++i) {
      if (parts[i].toDouble() <= 0)
        continue;
      // A single module of hundreds is still to be seen.
      const double width = std::max(3.0, bar.width() * parts[i].toDouble() / total);
      painter->fillRect(QRectF(x, bar.top(), width, bar.height()), colors[i]);
      x += width;
    }
  }
  painter->restore();
}

} // namespace bitlathe::gui
