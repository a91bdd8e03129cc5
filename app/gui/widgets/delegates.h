// SPDX-License-Identifier: GPL-3.0-or-later
// Cells that are pictures: precision chips and bars. They read roles that any model can offer.
#pragma once

#include <QStyledItemDelegate>

namespace bitlathe::gui {

enum ItemRole {
  bits_role = Qt::UserRole + 1, ///< double: the precision a chip is coloured by; negative: no chip
  bar_role,                     ///< double 0..1: length of the bar; negative: none
  bar_color_role,               ///< QColor of the bar; without it the quantized colour
  sort_role,                    ///< what to sort by instead of the text
  role_role,                    ///< QString: what the module is ("q_proj")
  module_role,                  ///< QString: module name of the row, empty for groups
  faded_role                    ///< bool: secondary (a kept or excluded module)
};

/// A rounded chip in the colour of the precision, text inside.
class ChipDelegate : public QStyledItemDelegate {
  Q_OBJECT
 public:
  using QStyledItemDelegate::QStyledItemDelegate;
  void paint(QPainter* painter, const QStyleOptionViewItem& option,
             const QModelIndex& index) const override;
  QSize sizeHint(const QStyleOptionViewItem& option, const QModelIndex& index) const override;
};

/// A thin bar under or behind right-aligned text.
class BarDelegate : public QStyledItemDelegate {
  Q_OBJECT
 public:
  using QStyledItemDelegate::QStyledItemDelegate;
  void paint(QPainter* painter, const QStyleOptionViewItem& option,
             const QModelIndex& index) const override;
};

/// Paints a precision chip with `text` left-aligned in `rect`; shared by delegates and panels.
void paintChip(QPainter& painter, const QRect& rect, const QString& text, double bits,
               bool faded = false);

} // namespace bitlathe::gui
