// SPDX-License-Identifier: GPL-3.0-or-later
// How much of a model a format holds: a bar in three parts with the count before it.
#pragma once

#include <QStyledItemDelegate>

namespace bitlathe::gui {

class HoldsDelegate : public QStyledItemDelegate {
  Q_OBJECT
 public:
  using QStyledItemDelegate::QStyledItemDelegate;
  void paint(QPainter* painter, const QStyleOptionViewItem& option,
             const QModelIndex& index) const override;
};

} // namespace bitlathe::gui
