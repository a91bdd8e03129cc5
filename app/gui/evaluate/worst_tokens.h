// SPDX-License-Identifier: GPL-3.0-or-later
// The tokens at which a model is farthest from the original: a table, and for the chosen one the
// text around it and what both models expect there.
#pragma once

#include "app/gui/widgets/card.h"
#include "app/gui/workbench.h"
#include "core/eval/places.h"

#include <QAbstractTableModel>

class QPushButton;
class QTableView;
class QTextBrowser;

namespace bitlathe::gui {

class WorstTokensModel : public QAbstractTableModel {
  Q_OBJECT
 public:
  enum Column { token, kl, before, after, expected, instead, place, column_count };
  using QAbstractTableModel::QAbstractTableModel;
  void set(std::vector<WorstToken> tokens, std::shared_ptr<const Checkpoint> source);
  const std::vector<WorstToken>& tokens() const { return tokens_; }
  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

 private:
  QString piece(std::int32_t id) const;
  std::vector<WorstToken> tokens_;
  std::shared_ptr<const Checkpoint> source_;
};

class WorstTokensCard : public Card {
  Q_OBJECT
 public:
  explicit WorstTokensCard(Workbench& workbench, QWidget* parent = nullptr);
  /// Of one measured contender; its checkpoint may be null.
  void set(const Contender& contender, const CompareResult* figures);
  QTableView* table() const { return table_; }
  QTextBrowser* context() const { return context_; }

 private:
  using Text = std::shared_ptr<const JudgedFile>;
  struct Expected {
    std::vector<TopToken> original, model;
  };
  void rowChosen();
  void readText();
  void expect();
  void offer();
  void showContext();
  QString expectedHtml() const;
  const WorstToken* chosen() const;

  Workbench& workbench_;
  Contender contender_;
  WorstTokensModel* model_;
  QTableView* table_;
  QTextBrowser* context_;
  QPushButton *expect_, *compare_;
  Text text_;
  QString text_on_, text_problem_, expect_problem_;
  std::optional<Expected> expected_;
  bool reading_ = false, expecting_ = false;
};

} // namespace bitlathe::gui
