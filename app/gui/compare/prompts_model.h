// SPDX-License-Identifier: GPL-3.0-or-later
// The prompts of a set and what came of each: the same, or where the texts part, and how far the
// models are apart along the first one's text.
#pragma once

#include "core/judge/outcome.h"
#include "core/judge/prompts.h"

#include <QAbstractTableModel>
#include <QList>

namespace bitlathe::gui {

class PromptsModel : public QAbstractTableModel {
  Q_OBJECT
 public:
  enum Column { id, text, outcome, divergence, column_count };
  enum class State { open, running, done, stopped, failed };

  using QAbstractTableModel::QAbstractTableModel;
  void setPrompts(const QList<Prompt>& prompts);
  const QList<Prompt>& prompts() const { return prompts_; }
  /// What is kept of a prompt; nullptr when it has not been run. Nothing is done when the row has
  /// this revision already.
  void setTranscript(int row, const Transcript* transcript, quint64 revision);
  /// By side, of a prompt that was run; the first side's says nothing.
  const std::vector<Outcome>& outcomes(int row) const { return rows_[row].outcomes; }
  QStringList titles(int row) const { return rows_[row].titles; } ///< of the sides
  void setRunning(int row);                                       ///< -1: none
  State state(int row) const { return rows_[row].state; }
  /// Of the side that parts first, or is furthest away.
  const Outcome& worst(int row) const { return rows_[row].worst; }

  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

 private:
  struct Row {
    State state = State::open;
    quint64 revision = 0;
    Outcome worst;
    std::vector<Outcome> outcomes;
    QStringList titles;
    QString detail; ///< every side in a line
  };
  QString outcomeText(int row) const;

  QList<Prompt> prompts_;
  QList<Row> rows_;
  int running_ = -1;
};

} // namespace bitlathe::gui
