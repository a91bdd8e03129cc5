// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/widgets/card.h"

#include "app/gui/theme.h"
#include "app/gui/widgets/elided_label.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QToolButton>
#include <QVBoxLayout>

namespace bitlathe::gui {

Card::Card(const QString& title, const QString& tooltip, QWidget* parent)
    : QFrame(parent), title_(new ElidedLabel(title, this)), readout_(new QLabel(this)),
      head_(new QHBoxLayout), body_(new QVBoxLayout) {
  setRole(this, "card");
  setAccessibleName(title);
  title_->setFont(titleFont());
  title_->setElideMode(Qt::ElideRight); // rather than make the window wider
  title_->setToolTip(tooltip);
  setRole(readout_, "muted");
  readout_->setFont(smallFont());
  readout_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  readout_->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Preferred);
  head_->setSpacing(space::s);
  head_->addWidget(title_);
  head_->addWidget(readout_, 1);
  body_->setSpacing(space::s);
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(space::m, space::s, space::m, space::m);
  column->setSpacing(space::xs);
  column->addLayout(head_);
  column->addLayout(body_, 1);
}

void Card::addTool(QWidget* tool) { head_->addWidget(tool); }
void Card::addBody(QWidget* body, int stretch) { body_->addWidget(body, stretch); }
void Card::setTitle(const QString& title) {
  title_->setText(title);
  setAccessibleName(title);
}
void Card::setReadoutBelow() {
  head_->removeWidget(readout_);
  head_->insertStretch(1, 1);
  static_cast<QVBoxLayout*>(layout())->insertWidget(1, readout_);
}
void Card::setReadout(const QString& text) { readout_->setText(text); }

Banner::Banner(QWidget* parent) : QFrame(parent), text_(new QLabel(this)) {
  text_->setWordWrap(true);
  text_->setTextFormat(Qt::PlainText);
  text_->setTextInteractionFlags(Qt::TextSelectableByMouse | Qt::TextSelectableByKeyboard);
  auto* dismiss = new QToolButton(this);
  dismiss->setText(QStringLiteral("✕"));
  dismiss->setToolTip(tr("Dismiss this message; it stays in the log"));
  dismiss->setAccessibleName(tr("Dismiss"));
  connect(dismiss, &QToolButton::clicked, this, &Banner::clear);
  auto* row = new QHBoxLayout(this);
  row->setContentsMargins(space::m, space::xs, space::xs, space::xs);
  row->addWidget(text_, 1);
  row->addWidget(dismiss, 0, Qt::AlignTop);
  hide();
}

void Banner::say(int level, const QString& text) {
  repeats_ = isVisible() && text == last_ ? repeats_ + 1 : 1;
  last_ = text;
  setRole(this, level >= 2 ? "banner-error" : level == 1 ? "banner-warning" : "banner-info");
  text_->setText(repeats_ > 1 ? tr("%1 (%2 times)").arg(text).arg(repeats_) : text);
  setAccessibleName(text);
  show();
}

void Banner::clear() {
  hide();
  last_.clear();
}

QString Banner::text() const { return last_; }

} // namespace bitlathe::gui
