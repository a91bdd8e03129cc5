// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/compare/lower_part.h"

#include "app/gui/compare/prompts_card.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/card.h"
#include "app/gui/widgets/save_menu.h"

#include <QShortcut>
#include <QTableView>
#include <QToolButton>

namespace bitlathe::gui {
namespace {

constexpr int wide_enough = 1150; ///< for both

} // namespace

LowerPart::LowerPart(QWidget* parent) : QSplitter(Qt::Horizontal, parent) {
  setChildrenCollapsible(false);
  setHandleWidth(space::s);
  card_ = new Card(tr("Likeliest tokens"),
                   tr("What every model thought at one position, with probabilities. Hover or "
                      "click a token, or use the arrow keys; D goes to the first difference"),
                   this);
  tokens_ = new TopTokens(card_);
  const auto csv = [this] { return tokens_->csv(); };
  addPictureMenu(tokens_, QStringLiteral("likeliest-tokens"), csv);
  card_->addTool(makePictureButton(tokens_, QStringLiteral("likeliest-tokens"), csv, card_));
  card_->addBody(tokens_);
  prompts_ = new PromptsCard(this);
  const auto change = [this](Card* card, const QString& text, const QString& tip, bool to_prompts) {
    auto* button = new QToolButton(card);
    button->setText(text);
    button->setToolTip(tip);
    connect(button, &QToolButton::clicked, this, [this, to_prompts] { showPrompts(to_prompts); });
    card->addTool(button);
    return button;
  };
  toPrompts_ = change(card_, tr("Prompts \u25b8"),
                      tr("Shows the prompts of the set and what came of them (Alt+L)"), true);
  toTokens_ = change(prompts_, tr("Likeliest tokens \u25b8"),
                     tr("Shows what the models thought at one position (Alt+L)"), false);
  addWidget(card_);
  addWidget(prompts_);
  setStretchFactor(0, 1);
  setStretchFactor(1, 1);
  auto* toggle = new QShortcut(QKeySequence(Qt::ALT | Qt::Key_L), this);
  connect(toggle, &QShortcut::activated, this, [this] {
    showPrompts(!front_);
    if (front_)
      prompts_->table()->setFocus(Qt::ShortcutFocusReason);
  });
  refresh();
}

void LowerPart::showTokens(const QList<TopTokens::Side>& sides, const QString& readout) {
  tokens_->set(sides, tr("Hover or click a token to see what every model thought there"));
  card_->setReadout(readout);
}

void LowerPart::showPrompts(bool prompts) {
  if (prompts == front_)
    return;
  front_ = prompts;
  refresh();
  if (!wide_)
    Q_EMIT frontChanged(prompts);
}

void LowerPart::fit(int width) {
  wide_ = width >= wide_enough;
  refresh();
}

void LowerPart::refresh() {
  card_->setVisible(wide_ || !front_);
  prompts_->setVisible(wide_ || front_);
  toPrompts_->setVisible(!wide_);
  toTokens_->setVisible(!wide_);
}

} // namespace bitlathe::gui
