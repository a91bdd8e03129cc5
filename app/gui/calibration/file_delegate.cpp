// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/calibration/file_delegate.h"

#include "app/gui/calibration/calibration_files.h"
#include "core/calib/sets.h"

#include <QComboBox>
#include <QDoubleSpinBox>
#include <QTimer>

namespace bitlathe::gui {

QWidget* FileDelegate::createEditor(QWidget* parent, const QStyleOptionViewItem& option,
                                    const QModelIndex& index) const {
  if (index.column() == CalibrationFiles::weight) {
    auto* box = new QDoubleSpinBox(parent);
    box->setRange(0, 1e6);
    box->setDecimals(3);
    box->setSingleStep(0.5);
    box->setFrame(false);
    return box;
  }
  if (index.column() != CalibrationFiles::part && index.column() != CalibrationFiles::field)
    return QStyledItemDelegate::createEditor(parent, option, index);
  auto* box = new QComboBox(parent);
  if (index.column() == CalibrationFiles::part) {
    box->addItem(tr("all of it"), QString());
    for (const std::string_view name : split_names)
      box->addItem(QString::fromUtf8(name.data(), qsizetype(name.size())),
                   QString::fromUtf8(name.data(), qsizetype(name.size())));
  } else {
    box->setEditable(true);
    box->addItem(tr("found by itself"), QString());
    for (const char* name : {"text", "prompt", "messages"})
      box->addItem(QString::fromLatin1(name), QString::fromLatin1(name));
  }
  auto* owner = const_cast<FileDelegate*>(this); // signals of a delegate are emitted by it
  connect(box, &QComboBox::activated, owner, [owner, box] {
    Q_EMIT owner->commitData(box);
    Q_EMIT owner->closeEditor(box);
  });
  QTimer::singleShot(0, box, [box] { box->showPopup(); });
  return box;
}

void FileDelegate::setEditorData(QWidget* editor, const QModelIndex& index) const {
  if (auto* number = qobject_cast<QDoubleSpinBox*>(editor)) {
    number->setValue(index.data(Qt::EditRole).toDouble());
  } else if (auto* box = qobject_cast<QComboBox*>(editor)) {
    const QString current = index.data(Qt::EditRole).toString();
    const int at = box->findData(current);
    box->setCurrentIndex(at);
    if (at < 0 && box->isEditable())
      box->setEditText(current);
  } else {
    QStyledItemDelegate::setEditorData(editor, index);
  }
}

void FileDelegate::setModelData(QWidget* editor, QAbstractItemModel* model,
                                const QModelIndex& index) const {
  if (auto* number = qobject_cast<QDoubleSpinBox*>(editor)) {
    number->interpretText();
    model->setData(index, number->value(), Qt::EditRole);
  } else if (auto* box = qobject_cast<QComboBox*>(editor)) {
    const int at = box->findText(box->currentText());
    model->setData(index, at >= 0 ? box->itemData(at).toString() : box->currentText().trimmed(),
                   Qt::EditRole);
  } else {
    QStyledItemDelegate::setModelData(editor, model, index);
  }
}

} // namespace bitlathe::gui
