// SPDX-License-Identifier: GPL-3.0-or-later
// Start page of the blind desk: which models, how many prompts, which seed; desks to go on with.
#pragma once

#include "app/gui/desk/desk_book.h"

#include <QWidget>

class QCheckBox;
class QComboBox;
class QLabel;
class QListWidget;
class QPushButton;
class QSpinBox;
class QStackedWidget;

namespace bitlathe::gui {

class Card;
class EmptyState;

class DeskStart : public QWidget {
  Q_OBJECT
 public:
  explicit DeskStart(DeskBook& book, QWidget* parent = nullptr);
  void refresh(); ///< transcripts and desks, read anew

 Q_SIGNALS:
  void opened(); ///< the current desk of the book is to be shown

 private:
  QWidget* buildForm();
  QWidget* buildDesks();
  void showChoice();
  void showDesks();
  DeskOptions options() const;
  void begin();
  void discard();
  void openDesk(int row);

  DeskBook& book_;
  DeskMaterial material_;
  QStackedWidget* top_;
  EmptyState* empty_;
  QListWidget *models_, *desks_;
  QComboBox* reference_;
  QCheckBox* all_pairs_;
  QSpinBox *prompts_, *seed_;
  QLabel *summary_, *problem_;
  QPushButton *begin_, *open_, *remove_;
  Card* desks_card_;
};

} // namespace bitlathe::gui
