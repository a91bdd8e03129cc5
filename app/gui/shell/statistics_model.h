// SPDX-License-Identifier: GPL-3.0-or-later
// Statistics of one weight as a table: what the source has, what is stored.
#pragma once

#include "core/eval/weight_stats.h"

#include <memory>
#include <QAbstractTableModel>

namespace bitlathe::gui {

class StatisticsModel : public QAbstractTableModel {
  Q_OBJECT
 public:
  using QAbstractTableModel::QAbstractTableModel;
  /// `stored` may be null: then there is one column.
  void set(std::shared_ptr<const WeightStatistics> original,
           std::shared_ptr<const WeightStatistics> stored);
  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

 private:
  std::shared_ptr<const WeightStatistics> original_, stored_;
};

} // namespace bitlathe::gui
