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
  /// `stored` and `second` may be null: then there is no column of theirs.
  void set(std::shared_ptr<const WeightStatistics> original,
           std::shared_ptr<const WeightStatistics> stored,
           std::shared_ptr<const WeightStatistics> second = nullptr);
  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

 private:
  enum class Side { original, stored, second };
  Side sideOf(int column) const;
  std::shared_ptr<const WeightStatistics> original_, stored_, second_;
};

} // namespace bitlathe::gui
