// SPDX-License-Identifier: GPL-3.0-or-later
// Every registered export format against one model, a row each.
#pragma once

#include "app/gui/export/format_report.h"

#include <QAbstractTableModel>
#include <QStringList>

namespace bitlathe::gui {

enum class FormatState { unknown, fits, warned, refuses };

struct FormatRow {
  QString id, title, summary, loaders;
  FormatReport report;
  FormatState state = FormatState::unknown;
  int refusals = 0, warnings = 0; ///< that stand in the way of the runtime that was chosen
  int elsewhere = 0;              ///< warnings and refusals that concern other runtimes only
};

/// "nothing stands in the way", "2 warnings", "cannot hold 3 modules".
QString formatStateText(const FormatRow& row);

/// Findings with the same words are put together: the words, and the modules they concern.
struct FindingGroup {
  Finding::Level level = Finding::Level::note;
  QString message, runtime;
  QStringList modules; ///< empty: the whole model
};
QList<FindingGroup> groupFindings(const std::vector<Finding>& findings);
/// How people call a runtime.
QString runtimeTitle(const QString& runtime);

class FormatsModel : public QAbstractTableModel {
  Q_OBJECT
 public:
  enum Column { title, holds, fallback, verdict, size, bits, readers, column_count };
  enum Role {
    RowStateRole = Qt::UserRole + 100,
    IdRole,
    LoadersRole,
    StateTextRole,
    PartsRole ///< QVariantList: modules that are held, fall back, are refused
  };

  /// Rows for all registered exporters, nothing known of them yet.
  explicit FormatsModel(QObject* parent = nullptr);
  void setReports(const QList<FormatReport>& reports, const QString& runtime);
  void forget(); ///< there is no model, or it is being examined
  const QList<FormatRow>& rows() const { return rows_; }
  int rowOf(const QString& id) const;

  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

 private:
  QVariant text(const FormatRow& row, int column) const;
  QVariant tip(const FormatRow& row, int column) const;
  void tell();
  QList<FormatRow> rows_;
};

} // namespace bitlathe::gui
