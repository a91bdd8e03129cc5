// SPDX-License-Identifier: GPL-3.0-or-later
// The recipe's rules and exclusions as one table; every edit is an undoable step of the Workbench.
#pragma once

#include "app/gui/workbench.h"

#include <QAbstractTableModel>

namespace bitlathe::gui {

class RuleModel : public QAbstractTableModel {
  Q_OBJECT
 public:
  enum Column { pattern, scheme, method, matches, column_count };
  explicit RuleModel(Workbench& workbench, QObject* parent = nullptr);

  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;
  Qt::ItemFlags flags(const QModelIndex& index) const override;
  bool setData(const QModelIndex& index, const QVariant& value, int role) override;

  bool isExclusion(int row) const; ///< exclusions come after the rules
  void addRule(const QString& match);
  void addExclusion(const QString& match);
  void remove(QList<int> table_rows);
  bool canMove(int row, int by) const;
  void move(int row, int by); ///< rules only; the last matching rule wins

 private:
  void refresh();
  QString patternOf(int row) const;

  Workbench& workbench_;
  Recipe recipe_;           ///< what the rows show
  QList<int> match_counts_; ///< -1: the pattern is malformed
};

} // namespace bitlathe::gui
