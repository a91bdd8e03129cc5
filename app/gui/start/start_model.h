// SPDX-License-Identifier: GPL-3.0-or-later
// The models of the start page: sources and what was found in them.
#pragma once

#include "core/model/locate.h"

#include <QAbstractItemModel>
#include <QSortFilterProxyModel>

namespace bitlathe::gui {

enum class StartColumn { name, format, quant, size, modified, where, count_ };

class StartModel : public QAbstractItemModel {
  Q_OBJECT
 public:
  using QAbstractItemModel::QAbstractItemModel;
  void setModels(std::vector<LocatedModel> models);
  /// nullptr for the row of a source.
  const LocatedModel* modelAt(const QModelIndex& index) const;
  int modelCount() const { return int(models_.size()); }

  QModelIndex index(int row, int column, const QModelIndex& parent = {}) const override;
  QModelIndex parent(const QModelIndex& child) const override;
  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;
  Qt::ItemFlags flags(const QModelIndex& index) const override;

 private:
  struct Group {
    QString title;
    int first = 0, count = 0; ///< of models_, which is sorted by source
  };
  QVariant modelData(const LocatedModel& model, StartColumn column, int role) const;

  std::vector<LocatedModel> models_;
  QList<Group> groups_;
};

/// Words that must all occur in what a row shows.
class StartFilter : public QSortFilterProxyModel {
  Q_OBJECT
 public:
  using QSortFilterProxyModel::QSortFilterProxyModel;
  void setSearch(const QString& text);

 protected:
  bool filterAcceptsRow(int row, const QModelIndex& parent) const override;
  bool lessThan(const QModelIndex& left, const QModelIndex& right) const override;

 private:
  QStringList words_;
};

/// Bits of one value that a label such as "Q4_K_M" or "bf16" stands for; -1 when it says nothing.
double bitsOfLabel(const QString& label);

} // namespace bitlathe::gui
