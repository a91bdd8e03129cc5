// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/export/exports_model.h"

#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/delegates.h"

#include <algorithm>
#include <QFileInfo>

namespace bitlathe::gui {

void ExportsModel::setRows(const QList<ExportRow>& rows) {
  const bool same =
      rows.size() == rows_.size() &&
      std::equal(rows.begin(), rows.end(), rows_.begin(),
                 [](const ExportRow& a, const ExportRow& b) { return a.path == b.path; });
  if (!same)
    beginResetModel();
  rows_ = rows;
  if (!same)
    endResetModel();
  else if (!rows_.isEmpty())
    Q_EMIT dataChanged(index(0, 0), index(int(rows_.size()) - 1, column_count - 1));
}

int ExportsModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : int(rows_.size());
}

int ExportsModel::columnCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : column_count;
}

QString ExportsModel::text(const ExportRow& row, int column) const {
  switch (column) {
  case name:
    return QFileInfo(row.path).fileName();
  case size:
    return formatBytes(row.bytes);
  case verification:
    return row.check == ExportRow::Check::none      ? tr("not verified")
           : row.check == ExportRow::Check::running ? tr("verifying\u2026")
                                                    : row.checkText;
  case folder:
    return QFileInfo(row.path).absolutePath();
  default:
    return {};
  }
}

QVariant ExportsModel::data(const QModelIndex& at, int role) const {
  if (!checkIndex(at, CheckIndexOption::IndexIsValid))
    return {};
  const ExportRow& row = rows_[at.row()];
  switch (role) {
  case Qt::DisplayRole:
    return text(row, at.column());
  case Qt::ForegroundRole:
    if (at.column() == verification && row.check == ExportRow::Check::passed)
      return theme().ok;
    if (at.column() == verification && row.check == ExportRow::Check::failed)
      return theme().error;
    return at.column() == folder ? QVariant(theme().muted) : QVariant();
  case Qt::TextAlignmentRole:
    return at.column() == size ? int(Qt::AlignRight | Qt::AlignVCenter)
                               : int(Qt::AlignLeft | Qt::AlignVCenter);
  case Qt::ToolTipRole:
    return row.notes.isEmpty() ? row.path : row.path + QLatin1Char('\n') + row.notes.join('\n');
  case sort_role:
    return at.column() == size ? QVariant(row.bytes) : QVariant(text(row, at.column()));
  case check_role:
    return int(row.check);
  default:
    return {};
  }
}

QVariant ExportsModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal || section < 0 || section >= column_count)
    return {};
  if (role == Qt::DisplayRole)
    return QStringList{tr("Export"), tr("Size"), tr("Verification"), tr("Folder")}[section];
  if (role == Qt::ToolTipRole)
    return QStringList{tr("File or folder that loaders are given"), tr("Bytes on disk"),
                       tr("The export was opened again by this program's own reader and compared "
                          "with the result, tensor by tensor"),
                       tr("Where it lies")}[section];
  if (role == Qt::TextAlignmentRole)
    return section == size ? int(Qt::AlignRight | Qt::AlignVCenter)
                           : int(Qt::AlignLeft | Qt::AlignVCenter);
  return {};
}

} // namespace bitlathe::gui
