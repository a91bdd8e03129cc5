// SPDX-License-Identifier: GPL-3.0-or-later
// Exports that were written from this window, newest first, with their verification.
#pragma once

#include "core/export/exporter.h"

#include <QAbstractTableModel>
#include <QList>
#include <QStringList>

namespace bitlathe::gui {

struct ExportRow {
  enum class Check { none, running, passed, failed } check = Check::none;
  QString path;
  quint64 bytes = 0;
  QString checkText; ///< "9 checks passed", or why not
  QStringList notes;
};

class ExportsModel : public QAbstractTableModel {
  Q_OBJECT
 public:
  enum Column { name, size, verification, folder, column_count };
  static constexpr int check_role = Qt::UserRole + 100; ///< int(ExportRow::Check)

  using QAbstractTableModel::QAbstractTableModel;
  void setRows(const QList<ExportRow>& rows);
  const QList<ExportRow>& rows() const { return rows_; }

  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

 private:
  QString text(const ExportRow& row, int column) const;
  QList<ExportRow> rows_;
};

} // namespace bitlathe::gui
