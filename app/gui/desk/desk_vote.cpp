// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/desk/desk_vote.h"

#include "app/gui/theme.h"
#include "app/gui/widgets/card.h"

#include <algorithm>
#include <QApplication>
#include <QKeyEvent>
#include <QLabel>
#include <QLineEdit>
#include <QPlainTextEdit>
#include <QProgressBar>
#include <QPushButton>
#include <QScrollBar>
#include <QVBoxLayout>

namespace bitlathe::gui {
namespace {

QFont readingFont() {
  QFont font = QApplication::font();
  font.setPointSizeF(font.pointSizeF() * 1.4);
  return font;
}

/// Read, not written into; takes no keys, so that every key is a vote. The mouse can mark and copy.
QPlainTextEdit* makeReader(const QString& name, QWidget* parent) {
  auto* text = new QPlainTextEdit(parent);
  text->setReadOnly(true);
  text->setFocusPolicy(Qt::NoFocus);
  text->setTextInteractionFlags(Qt::TextSelectableByMouse);
  text->setFont(readingFont());
  text->setFrameShape(QFrame::NoFrame);
  text->setAccessibleName(name);
  text->setWordWrapMode(QTextOption::WrapAtWordBoundaryOrAnywhere);
  return text;
}

} // namespace

DeskVote::DeskVote(DeskBook& book, QWidget* parent) : QWidget(parent), book_(book) {
  setFocusPolicy(Qt::StrongFocus);
  setAccessibleName(tr("Blind desk: voting"));
  auto* head = new QHBoxLayout;
  place_ = makeTitle({}, this);
  state_ = new QLabel(this);
  setRole(state_, "muted");
  bar_ = new QProgressBar(this);
  bar_->setTextVisible(false);
  bar_->setFixedHeight(6);
  bar_->setAccessibleName(tr("Items judged"));
  head->addWidget(place_);
  head->addSpacing(space::s);
  head->addWidget(state_, 1);
  head->addWidget(addButton(tr("End\u2026  F"), tr("Stop judging and go to the result (F)"), this,
                            &DeskVote::end));
  head->addWidget(addButton(tr("Leave  Esc"),
                            tr("Back to the start page; everything is kept to go on later (Esc)"),
                            this, &DeskVote::leave));
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(space::m, space::m, space::m, space::m);
  column->setSpacing(space::s);
  column->addLayout(head);
  column->addWidget(bar_);
  column->addWidget(buildPrompt());
  auto* answers = new QHBoxLayout;
  answers->setSpacing(space::s);
  for (auto [text, title] : {std::pair(&a_, tr("A")), std::pair(&b_, tr("B"))}) {
    auto* card = new Card(title, tr("One of the two answers; whose it is stays sealed"), this);
    *text = makeReader(tr("Answer %1").arg(title), card);
    card->addBody(*text);
    answers->addWidget(card, 1);
  }
  column->addLayout(answers, 1);
  column->addWidget(buildVotes());
}

QWidget* DeskVote::buildPrompt() {
  auto* card = new Card(tr("Prompt"), tr("What both models were asked to go on from"), this);
  system_ = new QLabel(card);
  system_->setWordWrap(true);
  setRole(system_, "muted");
  card->addBody(system_, 0);
  prompt_ = makeReader(tr("Prompt"), card);
  card->addBody(prompt_, 0);
  card->setSizePolicy(QSizePolicy::Preferred, QSizePolicy::Maximum);
  return card;
}

QPushButton* DeskVote::addButton(const QString& text, const QString& tip, QWidget* parent,
                                 void (DeskVote::*action)()) {
  auto* button = new QPushButton(text, parent);
  button->setToolTip(tip);
  button->setFocusPolicy(Qt::NoFocus); // arrow keys are votes, not ways from button to button
  connect(button, &QPushButton::clicked, this, action);
  return button;
}

QWidget* DeskVote::buildVotes() {
  auto* box = new QWidget(this);
  vote_a_ = addButton(tr("\u2190  A is better"), tr("The left answer is better (Left or A)"), box,
                      &DeskVote::voteA);
  tie_ = addButton(tr("\u2193  Tie"), tr("Both are as good (Down or T)"), box, &DeskVote::voteTie);
  bad_ =
      addButton(tr("X  Both bad"), tr("Neither answer is any good (X)"), box, &DeskVote::voteBad);
  vote_b_ = addButton(tr("B is better  \u2192"), tr("The right answer is better (Right or B)"), box,
                      &DeskVote::voteB);
  auto* votes = new QHBoxLayout;
  votes->setSpacing(space::s);
  for (auto* button : {vote_a_, tie_, bad_, vote_b_}) {
    button->setCheckable(true);
    button->setMinimumHeight(36);
    votes->addWidget(button, button == vote_a_ || button == vote_b_ ? 3 : 2);
  }
  skip_ = addButton(tr("Skip  S"), tr("Come back to this item when the others are done (S)"), box,
                    &DeskVote::skip);
  undo_ = addButton(tr("Undo  Ctrl+Z"), tr("Takes back the last vote or skip (Ctrl+Z)"), box,
                    &DeskVote::undo);
  redo_ = addButton(tr("Redo  Ctrl+Y"), tr("Casts again what was taken back (Ctrl+Y)"), box,
                    &DeskVote::redo);
  note_ = new QLineEdit(box);
  note_->setPlaceholderText(tr("Note on this item: N, then Return"));
  note_->setAccessibleName(tr("Note on this item"));
  note_->setToolTip(tr("What made the difference; kept with the vote (N)"));
  note_->setFocusPolicy(Qt::ClickFocus);
  note_->installEventFilter(this);
  connect(note_, &QLineEdit::editingFinished, this, &DeskVote::keepNote);
  auto* more = new QHBoxLayout;
  more->setSpacing(space::s);
  more->addWidget(note_, 1);
  more->addWidget(skip_);
  more->addWidget(undo_);
  more->addWidget(redo_);
  auto* hint = makeCaption(tr("Shift+Left and Shift+Right look at items before and after; Page Up "
                              "and Page Down scroll both answers, with Shift the prompt."),
                           box);
  auto* column = new QVBoxLayout(box);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(space::s);
  column->addLayout(votes);
  column->addLayout(more);
  column->addWidget(hint);
  return box;
}

// --- state --------------------------------------------------------------------------------------

void DeskVote::refresh() {
  const Desk* desk = book_.current();
  if (!desk || desk->unsealed())
    return;
  const auto next = desk->next();
  // All judged: the last item, to look at again.
  showItem(next ? int(*next) : std::max(0, item_));
}

void DeskVote::showItem(int item) {
  const Desk* desk = book_.current();
  if (!desk || desk->items().empty())
    return;
  item_ = std::clamp(item, 0, int(desk->items().size()) - 1);
  const DeskItem& shown = desk->items()[std::size_t(item_)];
  const auto text = [](const std::string& s) { return QString::fromStdString(s); };
  system_->setText(tr("System: %1").arg(text(shown.system)));
  system_->setVisible(!shown.system.empty());
  prompt_->setPlainText(text(shown.prompt));
  fitPrompt();
  const auto answer = [&](QPlainTextEdit* view, const std::string& said) {
    const bool empty = text(said).trimmed().isEmpty();
    // White space at the ends tells nothing; one side alone would stand indented by it.
    view->setPlainText(empty ? tr("(an empty answer)") : text(said).trimmed());
  };
  answer(a_, shown.a);
  answer(b_, shown.b);
  note_->setText(text(desk->note(std::size_t(item_))));
  showState();
}

/// As high as the prompt, up to a third of the page.
void DeskVote::fitPrompt() {
  const int line = QFontMetrics(prompt_->font()).lineSpacing();
  const int lines = std::max(1, int(prompt_->document()->size().height()));
  const int most = std::max(3, height() / 3 / line);
  prompt_->setFixedHeight(std::min(lines, most) * line + 2 * space::s + 2);
}

void DeskVote::resizeEvent(QResizeEvent* event) {
  QWidget::resizeEvent(event);
  fitPrompt();
}

void DeskVote::showState() {
  const Desk* desk = book_.current();
  if (!desk || item_ < 0 || std::size_t(item_) >= desk->items().size())
    return;
  const auto item = std::size_t(item_);
  const int asked = int(desk->asked()), answered = int(desk->answered());
  int place = 0; // among the items that are asked
  for (std::size_t i = 0; i <= item; ++i)
    place += !desk->items()[i].identical;
  place_->setText(desk->items()[item].identical ? tr("Not asked: both answers are the same")
                                                : tr("Item %1 of %2").arg(place).arg(asked));
  state_->setText(tr("%1 judged, %2 to go").arg(answered).arg(asked - answered));
  bar_->setRange(0, std::max(1, asked));
  bar_->setValue(answered);
  const Vote vote = desk->vote(item);
  const bool open = !desk->unsealed() && !desk->items()[item].identical;
  for (const auto& [button, value] :
       {std::pair(vote_a_, Vote::a), std::pair(vote_b_, Vote::b), std::pair(tie_, Vote::tie),
        std::pair(bad_, Vote::both_bad)}) {
    button->setChecked(vote == value);
    button->setEnabled(open);
  }
  skip_->setEnabled(open && vote == Vote::none);
  undo_->setEnabled(desk->can_undo());
  redo_->setEnabled(desk->can_redo());
}

void DeskVote::goOn() {
  const Desk* desk = book_.current();
  if (const auto next = desk ? desk->next() : std::nullopt) {
    showItem(int(*next));
    return;
  }
  showState();
  Q_EMIT finished();
}

void DeskVote::cast(Vote vote) {
  const Desk* desk = book_.current();
  if (!desk || desk->unsealed() || item_ < 0 || desk->items()[std::size_t(item_)].identical) {
    showState(); // a click has ticked the button
    return;
  }
  keepNote();
  book_.change([&](Desk& each) { each.cast(std::size_t(item_), vote); });
  goOn();
}

void DeskVote::skip() {
  const Desk* desk = book_.current();
  if (!desk || item_ < 0 || desk->vote(std::size_t(item_)) != Vote::none)
    return;
  keepNote();
  book_.change([&](Desk& each) { each.skip(std::size_t(item_)); });
  goOn();
}

void DeskVote::undo() {
  std::optional<std::size_t> item;
  book_.change([&](Desk& desk) { item = desk.undo(); });
  if (item)
    showItem(int(*item));
}

void DeskVote::redo() {
  std::optional<std::size_t> item;
  book_.change([&](Desk& desk) { item = desk.redo(); });
  if (item)
    goOn();
}

void DeskVote::step(int direction) {
  const Desk* desk = book_.current();
  if (!desk)
    return;
  keepNote();
  int at = item_ + direction;
  while (at >= 0 && std::size_t(at) < desk->items().size() &&
         desk->items()[std::size_t(at)].identical)
    at += direction;
  if (at >= 0 && std::size_t(at) < desk->items().size())
    showItem(at);
}

void DeskVote::editNote() {
  note_->setFocus(Qt::ShortcutFocusReason);
  note_->selectAll();
}

void DeskVote::keepNote() {
  const Desk* desk = book_.current();
  const std::string text = note_->text().trimmed().toStdString();
  if (desk && item_ >= 0 && std::size_t(item_) < desk->items().size() &&
      desk->note(std::size_t(item_)) != text)
    book_.change([&](Desk& each) { each.set_note(std::size_t(item_), text); });
}

void DeskVote::scroll(int pages, bool prompt) {
  for (QPlainTextEdit* text : prompt ? QList{prompt_} : QList{a_, b_}) {
    QScrollBar* bar = text->verticalScrollBar();
    bar->setValue(bar->value() + pages * std::max(1, bar->pageStep() - 1));
  }
}

// --- keys ---------------------------------------------------------------------------------------

bool DeskVote::event(QEvent* event) {
  // The window has shortcuts of its own for some of these keys (undo of the recipe).
  if (event->type() == QEvent::ShortcutOverride && !note_->hasFocus()) {
    const auto* key = static_cast<QKeyEvent*>(event);
    if (key->matches(QKeySequence::Undo) || key->matches(QKeySequence::Redo) ||
        (key->modifiers() == Qt::ControlModifier && key->key() == Qt::Key_Y) ||
        key->key() == Qt::Key_Escape ||
        !(key->modifiers() & ~(Qt::ShiftModifier | Qt::KeypadModifier)))
      event->accept();
  }
  return QWidget::event(event);
}

bool DeskVote::eventFilter(QObject* watched, QEvent* event) {
  if (watched == note_ && event->type() == QEvent::KeyPress) {
    const auto* key = static_cast<QKeyEvent*>(event);
    if (key->key() == Qt::Key_Return || key->key() == Qt::Key_Enter ||
        key->key() == Qt::Key_Escape) {
      keepNote();
      setFocus(Qt::ShortcutFocusReason);
      return true;
    }
  }
  return QWidget::eventFilter(watched, event);
}

void DeskVote::keyPressEvent(QKeyEvent* event) {
  if (note_->hasFocus()) { // what a line of text has no use for is no vote
    QWidget::keyPressEvent(event);
    return;
  }
  if (event->matches(QKeySequence::Undo)) {
    undo();
    return;
  }
  if (event->matches(QKeySequence::Redo) ||
      (event->modifiers() == Qt::ControlModifier && event->key() == Qt::Key_Y)) {
    redo();
    return;
  }
  const auto modifiers = event->modifiers() & ~Qt::KeypadModifier;
  const bool shift = modifiers == Qt::ShiftModifier;
  if (modifiers != Qt::NoModifier && !shift) {
    QWidget::keyPressEvent(event);
    return;
  }
  // A key that is held down votes once.
  const bool again = event->isAutoRepeat();
  switch (event->key()) {
  case Qt::Key_PageUp:
    return scroll(-1, shift);
  case Qt::Key_PageDown:
    return scroll(1, shift);
  case Qt::Key_Left:
    return shift ? step(-1) : again ? void() : voteA();
  case Qt::Key_Right:
    return shift ? step(1) : again ? void() : voteB();
  case Qt::Key_A:
    return again ? void() : voteA();
  case Qt::Key_B:
    return again ? void() : voteB();
  case Qt::Key_Down:
  case Qt::Key_T:
    return again ? void() : voteTie();
  case Qt::Key_X:
    return again ? void() : voteBad();
  case Qt::Key_S:
    return again ? void() : skip();
  case Qt::Key_N:
    return editNote();
  case Qt::Key_F:
    return end();
  case Qt::Key_Escape:
    return leave();
  default:
    QWidget::keyPressEvent(event);
  }
}

} // namespace bitlathe::gui
