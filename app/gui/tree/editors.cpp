// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/tree/editors.h"

#include "app/gui/tree/module_menu.h"

#include <QComboBox>
#include <QTimer>

namespace bitlathe::gui {

namespace {

/// Commits as soon as an entry is picked, and opens at once.
template <class Delegate> void commitOnPick(const Delegate* delegate, QComboBox* box) {
  auto* owner = const_cast<Delegate*>(delegate); // signals of a delegate are emitted by it
  QObject::connect(box, &QComboBox::activated, owner, [owner, box] {
    Q_EMIT owner->commitData(box);
    Q_EMIT owner->closeEditor(box);
  });
  QTimer::singleShot(0, box, [box] { box->showPopup(); });
}

void take(QWidget* editor, const QModelIndex& index) {
  auto* box = static_cast<QComboBox*>(editor);
  const QString current = index.data(Qt::EditRole).toString();
  box->setCurrentIndex(box->findText(current));
  if (box->isEditable())
    box->setEditText(current);
}

void give(QWidget* editor, QAbstractItemModel* model, const QModelIndex& index) {
  model->setData(index, static_cast<QComboBox*>(editor)->currentText(), Qt::EditRole);
}

} // namespace

QWidget* SchemeDelegate::createEditor(QWidget* parent, const QStyleOptionViewItem&,
                                      const QModelIndex&) const {
  auto* box = makeSchemeBox(parent);
  commitOnPick(this, box);
  return box;
}
void SchemeDelegate::setEditorData(QWidget* editor, const QModelIndex& index) const {
  take(editor, index);
}
void SchemeDelegate::setModelData(QWidget* editor, QAbstractItemModel* model,
                                  const QModelIndex& index) const {
  give(editor, model, index);
}

QWidget* MethodDelegate::createEditor(QWidget* parent, const QStyleOptionViewItem&,
                                      const QModelIndex&) const {
  auto* box = makeMethodBox(parent);
  commitOnPick(this, box);
  return box;
}
void MethodDelegate::setEditorData(QWidget* editor, const QModelIndex& index) const {
  take(editor, index);
}
void MethodDelegate::setModelData(QWidget* editor, QAbstractItemModel* model,
                                  const QModelIndex& index) const {
  give(editor, model, index);
}

} // namespace bitlathe::gui
