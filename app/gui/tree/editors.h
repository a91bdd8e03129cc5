// SPDX-License-Identifier: GPL-3.0-or-later
// Editing precision and method in a cell: a box of what the registries offer.
#pragma once

#include "app/gui/widgets/delegates.h"

namespace bitlathe::gui {

class SchemeDelegate : public ChipDelegate {
  Q_OBJECT
 public:
  using ChipDelegate::ChipDelegate;
  QWidget* createEditor(QWidget* parent, const QStyleOptionViewItem& option,
                        const QModelIndex& index) const override;
  void setEditorData(QWidget* editor, const QModelIndex& index) const override;
  void setModelData(QWidget* editor, QAbstractItemModel* model,
                    const QModelIndex& index) const override;
};

class MethodDelegate : public QStyledItemDelegate {
  Q_OBJECT
 public:
  using QStyledItemDelegate::QStyledItemDelegate;
  QWidget* createEditor(QWidget* parent, const QStyleOptionViewItem& option,
                        const QModelIndex& index) const override;
  void setEditorData(QWidget* editor, const QModelIndex& index) const override;
  void setModelData(QWidget* editor, QAbstractItemModel* model,
                    const QModelIndex& index) const override;
};

} // namespace bitlathe::gui
