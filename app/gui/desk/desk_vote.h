// SPDX-License-Identifier: GPL-3.0-or-later
// Voting page of the blind desk: a prompt, two answers, a vote by key. Nothing here knows whose the
// answers are: the desk does not tell before it is unsealed.
#pragma once

#include "app/gui/desk/desk_book.h"

#include <QWidget>

class QLabel;
class QLineEdit;
class QPlainTextEdit;
class QProgressBar;
class QPushButton;

namespace bitlathe::gui {

class DeskVote : public QWidget {
  Q_OBJECT
 public:
  explicit DeskVote(DeskBook& book, QWidget* parent = nullptr);
  void refresh(); ///< the next item of the current desk, from the start
  int item() const { return item_; }

 Q_SIGNALS:
  void finished(); ///< nothing is left to ask, or the judge wants to end
  void left();     ///< back to the start; the desk is kept

 protected:
  bool event(QEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;
  bool eventFilter(QObject* watched, QEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;

 private:
  QWidget* buildPrompt();
  QPlainTextEdit* buildAnswer(const QString& name, QWidget* parent);
  QWidget* buildVotes();
  QPushButton* addButton(const QString& text, const QString& tip, QWidget* parent,
                         void (DeskVote::*action)());
  void showItem(int item);
  void showState();
  void voteA() { cast(Vote::a); }
  void voteB() { cast(Vote::b); }
  void voteTie() { cast(Vote::tie); }
  void voteBad() { cast(Vote::both_bad); }
  void cast(Vote vote);
  void skip();
  void undo();
  void redo();
  void editNote();
  void keepNote();
  void step(int direction); ///< to the item before or after, judged or not
  void goOn();              ///< to the next item, or to the end
  void fitPrompt();
  void scroll(int pages, bool prompt);
  void end() { Q_EMIT finished(); }
  void leave() { Q_EMIT left(); }

  DeskBook& book_;
  int item_ = -1;
  QLabel *place_, *state_, *system_;
  QProgressBar* bar_;
  QPlainTextEdit *prompt_, *a_, *b_;
  QLineEdit* note_;
  QPushButton *vote_a_, *vote_b_, *tie_, *bad_, *skip_, *undo_, *redo_;
};

} // namespace bitlathe::gui
