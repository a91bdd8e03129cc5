// SPDX-License-Identifier: GPL-3.0-or-later
// End page of the blind desk: unsealing, then what the votes say and whose the answers were.
#pragma once

#include "app/gui/desk/desk_book.h"

#include <QWidget>

class QLabel;
class QPushButton;
class QScrollArea;
class QStackedWidget;
class QStandardItemModel;
class QTableView;
class QVBoxLayout;

namespace bitlathe::gui {

class Card;
class PreferenceBars;

class DeskEnd : public QWidget {
  Q_OBJECT
 public:
  explicit DeskEnd(DeskBook& book, QWidget* parent = nullptr);
  void refresh();
  void unseal();
  /// As Markdown, CSV or JSON, by the name's end; false and `error` when that fails.
  bool exportTo(const QString& path, QString* error) const;

 Q_SIGNALS:
  void back(); ///< to the voting page
  void left(); ///< to the start page

 protected:
  void keyPressEvent(QKeyEvent* event) override;
  bool event(QEvent* event) override;

 private:
  QWidget* buildSealed();
  QWidget* buildResult();
  QPushButton* addButton(const QString& text, const QString& tip, QWidget* parent);
  void showSealed(const Desk& desk);
  void showResult(const Desk& desk);
  void undo();
  void askExport();

  DeskBook& book_;
  QStackedWidget* pages_;
  QLabel *sealed_title_, *sealed_text_, *commitment_;
  QPushButton *unseal_, *export_;
  QLabel *verdict_, *power_, *notes_, *seal_;
  Card *summary_, *items_card_;
  PreferenceBars* bars_;
  QTableView *figures_, *items_;
  QStandardItemModel *figures_model_, *items_model_;
};

} // namespace bitlathe::gui
