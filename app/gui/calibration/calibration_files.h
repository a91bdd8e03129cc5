// SPDX-License-Identifier: GPL-3.0-or-later
// The recipe's calibration files with what is drawn from each, as a table; every edit is an
// undoable step of the Workbench. While the recipe names none, the file that is read instead is
// shown, and editing it puts it into the recipe.
#pragma once

#include "app/gui/workbench.h"

#include <QAbstractTableModel>

namespace bitlathe::gui {

class CalibrationFiles : public QAbstractTableModel {
  Q_OBJECT
 public:
  enum Column { path, part, field, weight, documents, tokens, vocabulary, column_count };
  explicit CalibrationFiles(Workbench& workbench, QObject* parent = nullptr);

  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;
  Qt::ItemFlags flags(const QModelIndex& index) const override;
  bool setData(const QModelIndex& index, const QVariant& value, int role) override;

  bool inherited() const { return inherited_; } ///< the recipe names none
  void add(const QStringList& paths);
  void remove(QList<int> rows);
  bool anyFields() const;      ///< any file has lines of JSON
  QStringList missing() const; ///< files that are not there

 private:
  void refresh();
  void commit(std::vector<CalibrationFile> files, const QString& what);
  bool isLines(const CalibrationFile& file) const;

  Workbench& workbench_;
  std::vector<CalibrationFile> files_;
  std::vector<bool> there_;
  bool inherited_ = false;
};

} // namespace bitlathe::gui
