// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/compare/panes_view.h"

#include "app/gui/compare/diff_view.h"
#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/empty_state.h"
#include "app/gui/widgets/save_menu.h"
#include "core/judge/divergence.h"

#include <algorithm>
#include <QButtonGroup>
#include <QComboBox>
#include <QGridLayout>
#include <QLabel>
#include <QPushButton>
#include <QShortcut>
#include <QStackedWidget>
#include <QToolButton>
#include <QVBoxLayout>

namespace bitlathe::gui {

PanesView::PanesView(QWidget* parent) : QWidget(parent) {
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(space::s);
  auto* bar = new QHBoxLayout;
  bar->setSpacing(space::xs);
  auto* group = new QButtonGroup(this);
  const auto chip = [&](const QString& text, const QString& tip) {
    auto* button = new QPushButton(text, this);
    button->setCheckable(true);
    button->setToolTip(tip);
    setRole(button, "chip");
    group->addButton(button);
    bar->addWidget(button);
    return button;
  };
  beside_ = chip(tr("Panes"), tr("Every text in a pane of its own (Alt+D switches)"));
  different_ = chip(tr("Difference"),
                    tr("Two texts as one, with what only one of them has marked (Alt+D switches)"));
  beside_->setChecked(true);
  auto* toggle = new QShortcut(QKeySequence(Qt::ALT | Qt::Key_D), this);
  connect(toggle, &QShortcut::activated, this, [this] { showDifference(!showsDifference()); });
  connect(different_, &QPushButton::toggled, this, [this](bool on) {
    stack_->setCurrentIndex(on ? 1 : 0);
    shading_->setEnabled(!on);
    Q_EMIT viewChanged();
  });
  bar->addSpacing(space::s);
  shading_ = new QComboBox(this);
  shading_->addItems({tr("Agreement"), tr("Surprise"), tr("Divergence"), tr("No shading")});
  shading_->setAccessibleName(tr("Shade tokens by"));
  shading_->setToolTip(
      tr("How tokens are shaded (Alt+S). Agreement: green ones are shared with the first model, "
         "amber ones are not. Surprise: the less likely a token was, the stronger its colour. "
         "Divergence: KL of the models where they read the same words; a candidate's own text is "
         "shaded up to where it parts"));
  auto* cycle = new QShortcut(QKeySequence(Qt::ALT | Qt::Key_S), this);
  connect(cycle, &QShortcut::activated, this, [this] {
    shading_->setCurrentIndex((shading_->currentIndex() + 1) % shading_->count());
  });
  connect(shading_, &QComboBox::currentIndexChanged, this, [this](int index) {
    for (ContenderPane* pane : panes_)
      pane->view()->setShading(TokenView::Shading(index));
    Q_EMIT viewChanged();
  });
  bar->addWidget(shading_);
  summary_ = new QLabel(this);
  summary_->setFont(smallFont());
  summary_->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Preferred);
  summary_->setAlignment(Qt::AlignRight | Qt::AlignVCenter);
  bar->addWidget(summary_, 1);
  column->addLayout(bar);

  stack_ = new QStackedWidget(this);
  box_ = new QWidget(stack_);
  grid_ = new QGridLayout(box_);
  grid_->setContentsMargins(0, 0, 0, 0);
  grid_->setSpacing(space::s);
  stack_->addWidget(box_);
  auto* card = new QFrame(stack_);
  setRole(card, "card");
  auto* inside = new QVBoxLayout(card);
  inside->setContentsMargins(1, 1, 1, 1);
  diff_ = new DiffView(card);
  inside->addWidget(diff_);
  stack_->addWidget(card);
  column->addWidget(stack_, 1);

  stripCard_ = new QFrame(this);
  setRole(stripCard_, "card");
  auto* strip = new QVBoxLayout(stripCard_);
  strip->setContentsMargins(space::m, space::xs, space::xs, space::xs);
  strip->setSpacing(0);
  auto* head = new QHBoxLayout;
  head->setSpacing(space::s);
  auto* name = new QLabel(tr("KL per token"), stripCard_);
  name->setFont(smallFont());
  name->setToolTip(
      tr("Every model reads the first one's text; at each token, KL(first || other) of what they "
         "expect next, in nats, from their whole f32 logits. 0: they agree entirely"));
  head->addWidget(name);
  stripText_ = new QLabel(stripCard_);
  stripText_->setFont(smallFont());
  setRole(stripText_, "muted");
  stripText_->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Preferred);
  head->addWidget(stripText_, 1);
  strip_ = new KlStrip(stripCard_);
  const auto csv = [this] { return strip_->csv(); };
  addPictureMenu(strip_, QStringLiteral("kl-per-token"), csv);
  head->addWidget(makePictureButton(strip_, QStringLiteral("kl-per-token"), csv, stripCard_));
  strip->addLayout(head);
  strip->addWidget(strip_);
  connect(strip_, &KlStrip::hovered, this, &PanesView::hover);
  connect(strip_, &KlStrip::picked, this, &PanesView::pick);
  stripCard_->setSizePolicy(QSizePolicy::Preferred, QSizePolicy::Maximum);
  column->addWidget(stripCard_);

  for (int i = 0; i < 4; ++i) {
    auto* jump = new QShortcut(QKeySequence(Qt::ALT | Qt::Key(Qt::Key_1 + i)), this);
    connect(jump, &QShortcut::activated, this, [this, i] { focusPane(i); });
  }
}

// --- panes
// ----------------------------------------------------------------------------------------

void PanesView::setPanes(const QList<PaneInfo>& panes) {
  if (panes == infos_ && !panes_.isEmpty())
    return;
  infos_ = panes;
  panes_.clear();
  while (QLayoutItem* item = grid_->takeAt(0)) {
    delete item->widget();
    delete item;
  }
  for (int i = 0; i < panes.size(); ++i) {
    auto* pane = new ContenderPane(i, panes[i], box_);
    pane->view()->setShading(shading());
    connect(pane, &ContenderPane::removeRequested, this, &PanesView::removeRequested);
    connect(pane->view(), &TokenView::hovered, this, &PanesView::hover);
    connect(pane->view(), &TokenView::picked, this, &PanesView::pick);
    panes_.push_back(pane);
  }
  const int count = int(panes_.size());
  const int across = count == 4 ? 2 : std::max(2, count);
  for (int i = 0; i < count; ++i)
    grid_->addWidget(panes_[i], i / across, i % across);
  if (count == 1) {
    auto* card = new QFrame(box_);
    setRole(card, "card");
    auto* inside = new QVBoxLayout(card);
    auto* other = new EmptyState(
        tr("The other side"),
        tr("Quantize the model to see its continuation here, or add another checkpoint of the same "
           "kind: an export, a GGUF, another size."),
        card);
    other->addAction(tr("Add model\u2026"), tr("Choose a folder or a file to compare with"),
                     [this] { Q_EMIT addRequested(); });
    inside->addWidget(other);
    grid_->addWidget(card, 0, 1);
  }
  for (int i = 0; i < 4; ++i) {
    grid_->setColumnStretch(i, i < across ? 1 : 0);
    grid_->setRowStretch(i, i * across < count ? 1 : 0);
  }
  divergences_.fill(-1, count);
  current_ = under_ = -1;
  diff_->setSides({});
  different_->setEnabled(count > 1);
  if (count < 2)
    showDifference(false);
  stripCard_->setVisible(count > 1);
  refreshStrip({});
  Q_EMIT tokenChanged();
}

void PanesView::show(const QList<Generation>& sides) {
  divergences_.fill(-1, panes_.size());
  current_ = under_ = -1;
  for (int i = 0; i < panes_.size() && i < sides.size(); ++i) {
    TokenView* view = panes_[i]->view();
    view->setCurrent(-1);
    view->setTokens(sides[i].tokens);
    view->setPrompt(sides[i].rendered.isEmpty() ? sides[i].prompt : sides[i].rendered);
    panes_[i]->setDifference({}, false);
    panes_[i]->show(sides[i]);
  }
  diff_->setSides(sides);
  refreshStrip(sides);
  Q_EMIT tokenChanged();
}

void PanesView::append(const QList<Generation>& sides, int side, qsizetype from) {
  if (side >= panes_.size())
    return;
  panes_[side]->view()->appendTokens(sides[side].tokens.mid(from));
  marks(sides, side, false);
}

void PanesView::change(const QList<Generation>& sides, int side) {
  if (side >= panes_.size())
    return;
  panes_[side]->show(sides[side]);
  if (!sides[side].kl.isEmpty() || !sides[side].klProblem.isEmpty())
    refreshStrip(sides);
}

void PanesView::setPrompt(int side, const QString& prompt) {
  if (side < panes_.size())
    panes_[side]->view()->setPrompt(prompt);
}

void PanesView::finish(const QList<Generation>& sides) {
  marks(sides, 0, true);
  diff_->setSides(sides);
  refreshStrip(sides);
}

void PanesView::marks(const QList<Generation>& sides, int side, bool exact) {
  if (sides.isEmpty() || side >= panes_.size() || side >= sides.size())
    return;
  if (side == 0) { // the others are measured against it
    for (int i = 1; i < sides.size(); ++i)
      if (!sides[i].tokens.isEmpty())
        marks(sides, i, exact);
    return;
  }
  const Pieces reference = sides[0].pieces(), candidate = sides[side].pieces();
  const qsizetype at =
      bitlathe::first_divergence(reference, sides[0].finished(), candidate, sides[side].finished());
  divergences_[side] = at;
  QList<bool> of_candidate, of_reference;
  double share = 1;
  if (exact) {
    const Agreement shared = agreement(reference, candidate);
    of_candidate = QList<bool>(shared.candidate.begin(), shared.candidate.end());
    of_reference = QList<bool>(shared.reference.begin(), shared.reference.end());
    share = shared.share;
  } else { // place by place, while they grow
    for (std::size_t i = 0; i < candidate.size(); ++i)
      of_candidate.push_back(i < reference.size() && reference[i] == candidate[i]);
    of_reference = of_candidate.mid(0, qsizetype(reference.size()));
  }
  panes_[side]->view()->setMarks(at, of_candidate);
  if (side == 1) // the reference shows its agreement with the first candidate
    panes_[0]->view()->setMarks(at, of_reference);

  const auto word = [](const Generation& g, qsizetype i) {
    return i < g.tokens.size()
               ? QStringLiteral("\u201c%1\u201d").arg(visibleToken(g.tokens[i].text))
               : tr("the end");
  };
  QString text;
  if (candidate.empty())
    text = {};
  else if (at >= 0)
    text = tr("Differs from token %1: %2, not %3")
               .arg(at + 1)
               .arg(word(sides[side], at), word(sides[0], at));
  else
    text = sides[side].finished() && sides[0].finished()
               ? tr("Same tokens as the first, all %1").arg(candidate.size())
               : tr("Same tokens so far");
  if (exact && at >= 0)
    text += tr(" \u00b7 %1 shared").arg(formatPercent(share, 0));
  panes_[side]->setDifference(text, at >= 0);
}

void PanesView::refreshStrip(const QList<Generation>& sides) {
  QList<KlStrip::Side> shown;
  QList<double> reference; // the largest of all candidates
  for (int i = 1; i < sides.size() && i < panes_.size(); ++i) {
    const Generation& side = sides[i];
    shown.push_back({side.title, i, side.kl, side.klProblem, divergences_[i]});
    // Its own text is the reference's up to where it parts; what it took there was drawn from the
    // same words before.
    panes_[i]->view()->setKl(divergences_[i] < 0 ? side.kl : side.kl.mid(0, divergences_[i] + 1));
    for (qsizetype k = 0; k < side.kl.size(); ++k)
      if (k < reference.size())
        reference[k] = std::max(reference[k], side.kl[k]);
      else
        reference.push_back(side.kl[k]);
  }
  if (!panes_.isEmpty())
    panes_[0]->view()->setKl(reference);
  QList<QString> words;
  if (!sides.isEmpty())
    for (const ShownToken& token : sides[0].tokens)
      words.push_back(token.text);
  QString hint = tr("How far the models are apart at every token appears here when the texts are "
                    "complete");
  for (const KlStrip::Side& side : shown)
    if (!side.problem.isEmpty())
      hint = side.problem;
  strip_->set(shown, words, hint);
  strip_->setCurrent(current_);
  stripText_->setText(strip_->empty() ? QString() : strip_->summary());
  stripText_->setToolTip(stripText_->text());
}

// --- the current token
// ------------------------------------------------------------------------------

qsizetype PanesView::firstDivergence() const {
  qsizetype out = -1;
  for (const qsizetype at : divergences_)
    if (at >= 0 && (out < 0 || at < out))
      out = at;
  return out;
}

void PanesView::setCurrent(qsizetype token) {
  current_ = token;
  for (ContenderPane* pane : panes_) {
    pane->view()->setCurrent(token);
    pane->view()->reveal(token);
  }
  strip_->setCurrent(token);
  Q_EMIT tokenChanged();
}

void PanesView::pick(qsizetype token) { setCurrent(token); }

void PanesView::hover(qsizetype token) {
  under_ = token;
  Q_EMIT tokenChanged();
}

void PanesView::focusPane(int index) {
  if (index >= panes_.size())
    return;
  showDifference(false);
  panes_[index]->view()->setFocus(Qt::ShortcutFocusReason);
}

void PanesView::recolor() {
  for (ContenderPane* pane : panes_)
    pane->recolor();
  strip_->update();
}

void PanesView::setShading(TokenView::Shading shading) { shading_->setCurrentIndex(int(shading)); }
TokenView::Shading PanesView::shading() const {
  return TokenView::Shading(shading_->currentIndex());
}

void PanesView::showDifference(bool difference) {
  (difference && different_->isEnabled() ? different_ : beside_)->setChecked(true);
}
bool PanesView::showsDifference() const { return different_->isChecked(); }

void PanesView::setSummary(const QString& text) {
  summary_->setText(text);
  summary_->setToolTip(text);
}

} // namespace bitlathe::gui
