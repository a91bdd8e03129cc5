// SPDX-License-Identifier: GPL-3.0-or-later
// Every registered export format with what it says about one result.
#pragma once

#include "core/export/exporter.h"

#include <QAbstractListModel>
#include <QList>
#include <QStringList>

namespace bitlathe::gui {

enum class FormatState { unknown, fits, warned, refuses };

struct FormatRow {
  QString id, title, summary, loaders;
  std::vector<Finding> findings; ///< refusals first, then warnings, then notes
  FormatState state = FormatState::unknown;
  int refusals = 0, warnings = 0;
};

/// "holds every module", "2 warnings", "cannot hold 3 modules".
QString formatStateText(const FormatRow& row);

/// Findings with the same words are put together: the words, and the modules they concern.
struct FindingGroup {
  Finding::Level level = Finding::Level::note;
  QString message;
  QStringList modules; ///< empty: the whole model
};
QList<FindingGroup> groupFindings(const std::vector<Finding>& findings);

class FormatsModel : public QAbstractListModel {
  Q_OBJECT
 public:
  enum Role { RowStateRole = Qt::UserRole + 100, IdRole, LoadersRole, StateTextRole };

  /// Rows for all registered exporters.
  explicit FormatsModel(QObject* parent = nullptr);
  /// Asks every exporter about these modules; without a model nothing is known.
  void examine(const Checkpoint* model, const std::vector<ExportModule>& modules);
  const QList<FormatRow>& rows() const { return rows_; }
  int rowOf(const QString& id) const;

  int rowCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role) const override;

 private:
  QList<FormatRow> rows_;
};

} // namespace bitlathe::gui
