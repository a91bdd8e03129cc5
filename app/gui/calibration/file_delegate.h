// SPDX-License-Identifier: GPL-3.0-or-later
// Editors of the table of calibration files: parts, fields, weights.
#pragma once

#include <QStyledItemDelegate>

namespace bitlathe::gui {

class FileDelegate : public QStyledItemDelegate {
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
