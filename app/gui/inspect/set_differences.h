// SPDX-License-Identifier: GPL-3.0-or-later
// How the inputs of every layer differ between two calibration sets, as a table; and in a sentence.
#pragma once

#include "app/gui/workbench.h"
#include "core/calib/compare.h"

#include <map>
#include <QAbstractTableModel>

namespace bitlathe::gui {

class SetDifferences : public QAbstractTableModel {
  Q_OBJECT
 public:
  enum Column {
    module,
    apart,
    moved,
    ratio,
    over_twice,
    absmax,
    second_absmax,
    mean_square,
    rank,
    column_count
  };
  using QAbstractTableModel::QAbstractTableModel;
  void set(const std::map<QString, ActivationDifference>& differences);
  int rowOf(const QString& name) const;

  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

 private:
  std::vector<std::pair<QString, ActivationDifference>> rows_;
};

QString differenceText(const ActivationDifference& difference);

} // namespace bitlathe::gui
