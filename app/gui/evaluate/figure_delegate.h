// SPDX-License-Identifier: GPL-3.0-or-later
// Model name over its verdict, with a stripe in the contender's colour.
#pragma once

#include <QStyledItemDelegate>

namespace bitlathe::gui {

class FigureDelegate : public QStyledItemDelegate {
  Q_OBJECT
 public:
  using QStyledItemDelegate::QStyledItemDelegate;
  void paint(QPainter* painter, const QStyleOptionViewItem& option,
             const QModelIndex& index) const override;
};

} // namespace bitlathe::gui
