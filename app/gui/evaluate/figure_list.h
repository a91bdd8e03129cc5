// SPDX-License-Identifier: GPL-3.0-or-later
// Everything that a comparison measures, a row per figure and a column per model.
#pragma once

#include "core/eval/eval.h"

#include <QAbstractTableModel>
#include <QStringList>

namespace bitlathe::gui {

class FigureListModel : public QAbstractTableModel {
  Q_OBJECT
 public:
  using QAbstractTableModel::QAbstractTableModel;
  struct Row {
    QString name, tip;
    QStringList values; ///< one per model
  };
  struct Candidate {
    QString title;
    const CompareResult* figures; ///< not null
  };
  void set(const CompareReport* report, const QList<Candidate>& candidates);
  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

 private:
  QStringList titles_;
  QList<Row> rows_;
};

} // namespace bitlathe::gui
