// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/desk/desk.h"

#include "app/gui/compare/transcript_book.h"
#include "app/gui/desk/desk_end.h"
#include "app/gui/desk/desk_start.h"
#include "app/gui/desk/desk_vote.h"

#include <QStackedWidget>
#include <QVBoxLayout>

namespace bitlathe::gui {

DeskView::DeskView(Workbench& workbench, QWidget* parent)
    : QWidget(parent), book_(DeskBook::of(workbench)), pages_(new QStackedWidget(this)),
      start_(new DeskStart(*book_, pages_)), vote_(new DeskVote(*book_, pages_)),
      end_(new DeskEnd(*book_, pages_)) {
  pages_->addWidget(start_);
  pages_->addWidget(vote_);
  pages_->addWidget(end_);
  auto* all = new QVBoxLayout(this);
  all->setContentsMargins(0, 0, 0, 0);
  all->addWidget(pages_);
  connect(start_, &DeskStart::opened, this, &DeskView::resume);
  connect(vote_, &DeskVote::finished, this, [this] { turnTo(Page::end); });
  connect(vote_, &DeskVote::left, this, [this] { turnTo(Page::start); });
  connect(end_, &DeskEnd::back, this, [this] { turnTo(Page::vote); });
  connect(end_, &DeskEnd::left, this, [this] { turnTo(Page::start); });
  connect(TranscriptBook::of(workbench), &TranscriptBook::changed, this, [this] {
    if (page() == Page::start && isVisible())
      start_->refresh();
  });
  connect(book_, &DeskBook::reopened, this, [this] { turnTo(Page::start); });
  turnTo(Page::start);
}

DeskView::Page DeskView::page() const { return Page(pages_->currentIndex()); }

void DeskView::turnTo(Page page) {
  QWidget* next = page == Page::start  ? static_cast<QWidget*>(start_)
                  : page == Page::vote ? static_cast<QWidget*>(vote_)
                                       : end_;
  const bool here = isVisible() && (isAncestorOf(focusWidget()) || hasFocus());
  if (page == Page::start)
    start_->refresh();
  else if (page == Page::vote)
    vote_->refresh();
  else
    end_->refresh();
  pages_->setCurrentWidget(next);
  setFocusProxy(next);
  if (here)
    next->setFocus();
}

void DeskView::resume() {
  const Desk* desk = book_->current();
  turnTo(!desk ? Page::start : desk->unsealed() || desk->complete() ? Page::end : Page::vote);
}

void DeskView::showEvent(QShowEvent* event) {
  QWidget::showEvent(event);
  if (page() == Page::start)
    start_->refresh(); // prompts may have been run since
}

QWidget* makeDesk(Workbench& workbench, QWidget* parent) { return new DeskView(workbench, parent); }

} // namespace bitlathe::gui
