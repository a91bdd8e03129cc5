// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/widgets/empty_state.h"

#include "app/gui/theme.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QPushButton>
#include <QVBoxLayout>

namespace bitlathe::gui {

EmptyState::EmptyState(const QString& title, const QString& text, QWidget* parent)
    : QWidget(parent), title_(makeTitle(title, this)), text_(new QLabel(text, this)),
      buttons_(new QWidget(this)) {
  title_->setAlignment(Qt::AlignCenter);
  text_->setAlignment(Qt::AlignCenter);
  text_->setWordWrap(true);
  text_->setMaximumWidth(460);
  setRole(text_, "muted");
  auto* row = new QHBoxLayout(buttons_);
  row->setContentsMargins(0, space::s, 0, 0);
  buttons_->hide();
  auto* column = new QVBoxLayout(this);
  column->setSpacing(space::s);
  column->addStretch();
  column->addWidget(title_);
  auto* centred = new QHBoxLayout;
  centred->addStretch(1);
  centred->addWidget(text_, 1000);
  centred->addStretch(1);
  column->addLayout(centred);
  column->addWidget(buttons_, 0, Qt::AlignHCenter);
  column->addStretch();
}

void EmptyState::setTexts(const QString& title, const QString& text) {
  title_->setText(title);
  text_->setText(text);
}

QPushButton* EmptyState::addAction(const QString& label, const QString& tooltip,
                                   std::function<void()> action) {
  auto* button = new QPushButton(label, buttons_);
  button->setToolTip(tooltip);
  if (buttons_->layout()->isEmpty())
    setRole(button, "primary");
  connect(button, &QPushButton::clicked, this, std::move(action));
  buttons_->layout()->addWidget(button);
  buttons_->show();
  return button;
}

} // namespace bitlathe::gui
