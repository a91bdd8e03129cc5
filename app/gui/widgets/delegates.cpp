// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/widgets/delegates.h"

#include "app/gui/theme.h"

#include <algorithm>
#include <QApplication>
#include <QPainter>

namespace bitlathe::gui {

namespace {

/// Background, selection and focus as the style draws them, without the text.
QStyleOptionViewItem drawEmptyCell(QPainter* painter, const QStyleOptionViewItem& option) {
  QStyleOptionViewItem cell = option;
  cell.text.clear();
  const QWidget* widget = option.widget;
  const QStyle* style = widget ? widget->style() : QApplication::style();
  style->drawControl(QStyle::CE_ItemViewItem, &cell, painter, widget);
  return cell;
}

} // namespace

void paintChip(QPainter& painter, const QRect& rect, const QString& text, double bits, bool faded) {
  painter.save();
  painter.setRenderHint(QPainter::Antialiasing);
  const QFont font = smallFont();
  const QFontMetrics metrics(font);
  const int height = std::min(rect.height() - 4, metrics.height() + 2);
  const int width = std::min(metrics.horizontalAdvance(text) + 14, rect.width());
  const QRectF chip(rect.x(), rect.y() + (rect.height() - height) / 2.0, width, height);
  const QColor color = precisionColor(bits);
  const QString shown = metrics.elidedText(text, Qt::ElideRight, width - 10);
  if (faded) {
    painter.setPen(QPen(mixed(color, theme().raised, 0.35), 1));
    painter.setBrush(Qt::NoBrush);
    painter.drawRoundedRect(chip.adjusted(0.5, 0.5, -0.5, -0.5), height / 2.0, height / 2.0);
    painter.setPen(theme().muted);
  } else {
    painter.setPen(Qt::NoPen);
    painter.setBrush(color);
    painter.drawRoundedRect(chip, height / 2.0, height / 2.0);
    painter.setPen(textOn(color));
  }
  painter.setFont(font);
  painter.drawText(chip, Qt::AlignCenter, shown);
  painter.restore();
}

void ChipDelegate::paint(QPainter* painter, const QStyleOptionViewItem& option,
                         const QModelIndex& index) const {
  const QVariant bits = index.data(bits_role);
  QStyleOptionViewItem cell = option;
  initStyleOption(&cell, index);
  if (!bits.isValid() || bits.toDouble() < 0 || cell.text.isEmpty()) {
    QStyledItemDelegate::paint(painter, option, index);
    return;
  }
  const QString text = cell.text;
  drawEmptyCell(painter, cell);
  paintChip(*painter, option.rect.adjusted(4, 0, -4, 0), text, bits.toDouble(),
            index.data(faded_role).toBool());
}

QSize ChipDelegate::sizeHint(const QStyleOptionViewItem& option, const QModelIndex& index) const {
  const QSize size = QStyledItemDelegate::sizeHint(option, index);
  return {size.width() + 16, size.height()};
}

void BarDelegate::paint(QPainter* painter, const QStyleOptionViewItem& option,
                        const QModelIndex& index) const {
  QStyleOptionViewItem cell = option;
  initStyleOption(&cell, index);
  const QString text = cell.text;
  drawEmptyCell(painter, cell);
  const QRect inner = option.rect.adjusted(6, 0, -6, 0);
  const QVariant length = index.data(bar_role);
  if (length.isValid() && length.toDouble() >= 0) {
    const QVariant given = index.data(bar_color_role);
    const QColor color = given.isValid() ? given.value<QColor>() : theme().quantized;
    painter->save();
    painter->setRenderHint(QPainter::Antialiasing);
    painter->setPen(Qt::NoPen);
    const QRectF track(inner.x(), inner.bottom() - 4, inner.width(), 3);
    painter->setBrush(mixed(theme().raised, color, 0.16));
    painter->drawRoundedRect(track, 1.5, 1.5);
    QRectF bar = track;
    bar.setWidth(std::max(2.0, track.width() * std::clamp(length.toDouble(), 0.0, 1.0)));
    painter->setBrush(color);
    painter->drawRoundedRect(bar, 1.5, 1.5);
    painter->restore();
  }
  painter->save();
  painter->setFont(cell.font);
  painter->setPen(index.data(faded_role).toBool() ? theme().muted : theme().text);
  painter->drawText(inner.adjusted(0, 0, 0, -4), Qt::AlignRight | Qt::AlignVCenter,
                    QFontMetrics(cell.font).elidedText(text, Qt::ElideRight, inner.width()));
  painter->restore();
}

} // namespace bitlathe::gui
