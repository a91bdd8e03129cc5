// SPDX-License-Identifier: GPL-3.0-or-later
// The blind desk: from transcripts of the session to votes, and from votes to what they are worth.
// Start page, voting page, end page; everything by keyboard.
#pragma once

#include "app/gui/desk/desk_book.h"

#include <QWidget>

class QStackedWidget;

namespace bitlathe::gui {

class DeskEnd;
class DeskStart;
class DeskVote;

class DeskView : public QWidget {
  Q_OBJECT
 public:
  explicit DeskView(Workbench& workbench, QWidget* parent = nullptr);
  enum class Page { start, vote, end };
  Page page() const;
  DeskStart& start() { return *start_; }
  DeskVote& vote() { return *vote_; }
  DeskEnd& end() { return *end_; }
  DeskBook& book() { return *book_; }

 protected:
  void showEvent(QShowEvent* event) override;

 private:
  void turnTo(Page page);
  void resume(); ///< the page where the current desk is

  DeskBook* book_;
  QStackedWidget* pages_;
  DeskStart* start_;
  DeskVote* vote_;
  DeskEnd* end_;
};

/// Has its focus proxy where keys are wanted.
QWidget* makeDesk(Workbench& workbench, QWidget* parent);

} // namespace bitlathe::gui
