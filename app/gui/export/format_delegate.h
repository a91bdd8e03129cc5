// SPDX-License-Identifier: GPL-3.0-or-later
// A format in the list: title, who loads it, and its state with a mark readable without colour.
#pragma once

#include <QStyledItemDelegate>

namespace bitlathe::gui {

class FormatDelegate : public QStyledItemDelegate {
  Q_OBJECT
 public:
  using QStyledItemDelegate::QStyledItemDelegate;
  QSize sizeHint(const QStyleOptionViewItem& option, const QModelIndex& index) const override;
  void paint(QPainter* painter, const QStyleOptionViewItem& option,
             const QModelIndex& index) const override;
};

} // namespace bitlathe::gui
