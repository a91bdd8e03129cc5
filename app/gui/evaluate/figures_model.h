// SPDX-License-Identifier: GPL-3.0-or-later
// The table of the Evaluate stage: one row per contender, the original first.
#pragma once

#include "core/eval/verdict.h"

#include <optional>
#include <QAbstractTableModel>
#include <QList>

namespace bitlathe::gui {

struct FigureRow {
  QString title, path;
  quint64 bytes = 0;
  double bitsPerWeight = 0;
  QString problem; ///< why it cannot be measured; empty when it can
  bool measured = false;
  double perplexity = 0, perplexityError = 0;
  double ratio = 1, ratioError = 0;                        ///< of the original's
  double kl = 0, klError = 0, klP99 = 0, topAgreement = 1; ///< of candidates only
  qint64 tokens = 0;
  double tokensPerSecond = 0;
  Verdict verdict;
};

class FiguresModel : public QAbstractTableModel {
  Q_OBJECT
 public:
  enum Column {
    model,
    size,
    bits,
    perplexity,
    ratio,
    kl,
    kl_p99,
    top1,
    speed,
    verdict,
    column_count
  };
  // Cells offer sort_role of app/gui/widgets/delegates.h, and:
  static constexpr int standing_role = Qt::UserRole + 100; ///< int(Standing)

  explicit FiguresModel(QObject* parent = nullptr);
  /// Replaces the figures; keeps rows (and selection) when the contenders are the same.
  void setRows(const QList<FigureRow>& rows);
  const QList<FigureRow>& rows() const { return rows_; }

  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

 private:
  QString text(int row, int column) const;
  QVariant number(int row, int column) const;
  QList<FigureRow> rows_;
};

/// Rows for contenders, the reference first; a report's candidates are found by their paths.
struct FigureSource {
  QString title, path, problem;
  quint64 bytes = 0;
  qint64 parameters = 0;
};
QList<FigureRow> figureRows(const QList<FigureSource>& contenders, const CompareReport* report);

} // namespace bitlathe::gui
