// SPDX-License-Identifier: GPL-3.0-or-later
// One row per module: what the plan foresees, then what was stored, filled in while a run goes on.
#pragma once

#include "core/job/quantize.h"
#include "core/recipe/plan.h"

#include <QAbstractTableModel>
#include <QHash>

namespace bitlathe::gui {

class ResultsModel : public QAbstractTableModel {
  Q_OBJECT
 public:
  enum Column {
    name,
    scheme,
    method,
    bytes,
    share,
    sqnr,
    output,
    mse,
    cosine,
    worst,
    seconds,
    column_count
  };
  enum class RowState { waiting, stored, kept };
  // Cells offer the roles of app/gui/widgets/delegates.h, and:
  static constexpr int state_role = Qt::UserRole + 100; ///< int(RowState)

  struct Row {
    QString name, role, scheme, method, reason;
    int layer = -1;
    double bits = 32;
    quint64 before = 0, after = 0; ///< bytes
    RowState state = RowState::waiting;
    double mse = 0, sqnr = 0, cosine = 1, worst = 0, seconds = 0;
    double output = -1; ///< share of the output lost on the calibration text; -1: not known
  };

  explicit ResultsModel(QObject* parent = nullptr);

  void clear();
  /// Rows of the plan, all waiting.
  void setPlan(const Plan& plan);
  /// Rows of a finished run (nothing waiting); `checkpoint` gives what the plan would.
  void setResults(const std::vector<ModuleResult>& results, const Checkpoint* source);
  /// Takes over results that came since the last call; rows are found by name.
  void update(const std::vector<ModuleResult>& results);

  const QList<Row>& rows() const { return rows_; }
  int rowOf(const QString& module) const { return index_.value(module, -1); }
  int storedCount() const { return stored_; }

  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

 private:
  void take(Row& row, const ModuleResult& result);
  void rebuildIndex();
  QVariant text(const Row& row, int column) const;
  QVariant number(const Row& row, int column) const;
  QVariant bar(const Row& row, int column) const;
  QString tip(const Row& row, int column) const;

  QList<Row> rows_;
  QHash<QString, int> index_;
  std::size_t taken_ = 0;
  int stored_ = 0;
  double largest_mse_ = 0, largest_seconds_ = 0;
  quint64 largest_bytes_ = 0;
};

} // namespace bitlathe::gui
