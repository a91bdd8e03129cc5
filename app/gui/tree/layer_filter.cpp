// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/tree/layer_filter.h"

#include "app/gui/tree/layer_model.h"
#include "app/gui/widgets/delegates.h"

#include <QRegularExpression>

namespace bitlathe::gui {

LayerFilter::LayerFilter(LayerModel& model, QObject* parent)
    : QSortFilterProxyModel(parent), model_(model) {
  setRecursiveFilteringEnabled(true);
  setSourceModel(&model);
}

void LayerFilter::setSearch(const QString& text) {
  words_ = text.toLower().split(' ', Qt::SkipEmptyParts);
  invalidateFilter();
}

void LayerFilter::setRoles(const QSet<QString>& roles) {
  roles_ = roles;
  invalidateFilter();
}

bool LayerFilter::filterAcceptsRow(int row, const QModelIndex& parent) const {
  const QModelIndex name = model_.index(row, 0, parent);
  const QString module = name.data(module_role).toString();
  if (module.isEmpty())
    return !active(); // a block: kept by recursion while a module matches
  if (!roles_.isEmpty() && !roles_.contains(name.data(role_role).toString()))
    return false;
  if (words_.isEmpty())
    return true;
  const QString text = (module + ' ' + name.data(role_role).toString() + ' ' +
                        name.siblingAtColumn(int(TreeColumn::precision)).data().toString() + ' ' +
                        name.siblingAtColumn(int(TreeColumn::method)).data().toString() + ' ' +
                        (parent.isValid() ? parent.data().toString() : QString()))
                           .toLower();
  // A number means that number: "block 1" is neither block 11 nor int8-g128.
  static const QRegularExpression between(QStringLiteral("[^a-z0-9]+"));
  const QStringList tokens = text.split(between);
  return std::all_of(words_.begin(), words_.end(), [&](const QString& word) {
    bool number = false;
    word.toInt(&number);
    return number ? tokens.contains(word) : text.contains(word);
  });
}

bool LayerFilter::lessThan(const QModelIndex& left, const QModelIndex& right) const {
  const QVariant a = left.data(sort_role), b = right.data(sort_role);
  if (a.typeId() == QMetaType::QString || b.typeId() == QMetaType::QString) {
    const int order = QString::localeAwareCompare(a.toString(), b.toString());
    if (order != 0)
      return order < 0;
  } else if (a.toDouble() != b.toDouble()) {
    return a.toDouble() < b.toDouble();
  }
  // Equal keys keep the model's order.
  return left.siblingAtColumn(0).data(sort_role).toInt() <
         right.siblingAtColumn(0).data(sort_role).toInt();
}

} // namespace bitlathe::gui
