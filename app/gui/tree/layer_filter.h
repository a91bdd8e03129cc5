// SPDX-License-Identifier: GPL-3.0-or-later
// Search, role chips and sorting for the layer tree. Blocks stay while one of their modules does.
#pragma once

#include <QSet>
#include <QSortFilterProxyModel>

namespace bitlathe::gui {

class LayerModel;

class LayerFilter : public QSortFilterProxyModel {
  Q_OBJECT
 public:
  explicit LayerFilter(LayerModel& model, QObject* parent = nullptr);
  void setSearch(const QString& text); ///< words; all must occur in name, role, scheme, method
  void setRoles(const QSet<QString>& roles); ///< empty: all
  bool active() const { return !words_.isEmpty() || !roles_.isEmpty(); }

 protected:
  bool filterAcceptsRow(int row, const QModelIndex& parent) const override;
  bool lessThan(const QModelIndex& left, const QModelIndex& right) const override;

 private:
  LayerModel& model_;
  QStringList words_;
  QSet<QString> roles_;
};

} // namespace bitlathe::gui
