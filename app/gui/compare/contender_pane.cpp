// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/compare/contender_pane.h"

#include "app/gui/compare/generation_runner.h"
#include "app/gui/format.h"
#include "app/gui/theme.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QPainter>
#include <QToolButton>

namespace bitlathe::gui {

QColor contenderColor(int index) {
  const ThemeColors& c = theme();
  switch (index) {
  case 0:
    return c.original;
  case 1:
    return c.quantized;
  case 2:
    return c.second;
  default:
    return mixed(c.second, c.error, 0.65);
  }
}

ContenderPane::ContenderPane(int index, const Contender& contender, bool removable, QWidget* parent)
    : QFrame(parent), index_(index) {
  setRole(this, "card");
  setAccessibleName(contender.title);
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(1, space::s + 3, 1, 1);
  column->setSpacing(space::xs);

  auto* head = new QHBoxLayout;
  head->setContentsMargins(space::m, 0, space::s, 0);
  auto* title = makeTitle(contender.title, this);
  title->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Preferred);
  title->setMinimumWidth(60);
  QString tip;
  if (contender.checkpoint)
    tip = tr("%1\n%2, %3 as stored")
              .arg(QString::fromStdString(contender.checkpoint->path.string()),
                   QString::fromStdString(contender.checkpoint->format),
                   formatBytes(contender.checkpoint->bytes()));
  title->setToolTip(tip);
  head->addWidget(title, 1);
  state_ = new QLabel(this);
  state_->setFont(smallFont());
  setRole(state_, "muted");
  state_->setToolTip(tr("New tokens per second, prompt processing not included"));
  head->addWidget(state_);
  if (removable) {
    auto* remove = new QToolButton(this);
    remove->setText(QStringLiteral("\u2715"));
    remove->setToolTip(tr("Takes this checkpoint out of the comparison; its files stay"));
    remove->setAccessibleName(tr("Remove %1").arg(contender.title));
    connect(remove, &QToolButton::clicked, this, [this] { Q_EMIT removeRequested(index_); });
    head->addWidget(remove);
  }
  column->addLayout(head);
  difference_ = new QLabel(this);
  difference_->setFont(smallFont());
  difference_->setContentsMargins(space::m, 0, space::m, 0);
  difference_->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Preferred); // texts stay level
  column->addWidget(difference_);
  view_ = new TokenView(this);
  view_->setColor(contenderColor(index));
  view_->setAccessibleName(tr("Text of %1").arg(contender.title));
  view_->setToolTip({});
  column->addWidget(view_, 1);
  setDifference({}, false);
  const QString problem = GenerationRunner::problemOf(contender);
  view_->setPlaceholder(problem.isEmpty() ? tr("The continuation appears here, token by token")
                                          : problem);
}

void ContenderPane::recolor() {
  view_->setColor(contenderColor(index_));
  update();
}

void ContenderPane::show(const Generation& g) {
  QString text;
  switch (g.state) {
  case GenerationState::idle:
    break;
  case GenerationState::waiting:
    text = tr("waiting");
    break;
  case GenerationState::running:
    text = g.tokens.isEmpty() ? tr("reading the prompt")
                              : tr("%1 tokens \u00b7 %2")
                                    .arg(g.tokens.size())
                                    .arg(formatRate(g.tokensPerSecond(), QStringLiteral("tok")));
    break;
  case GenerationState::done:
  case GenerationState::stopped: {
    text = tr("%1 tokens \u00b7 %2")
               .arg(g.tokens.size())
               .arg(formatRate(g.tokensPerSecond(), QStringLiteral("tok")));
    if (g.state == GenerationState::stopped)
      text += tr(" \u00b7 stopped");
    else if (g.stopReason == QLatin1String("eos"))
      text += tr(" \u00b7 ended by itself");
    else if (g.stopReason == QLatin1String("context"))
      text += tr(" \u00b7 context full");
    break;
  }
  case GenerationState::failed:
    text = tr("cannot run");
    view_->setPlaceholder(g.problem);
    break;
  }
  state_->setText(text);
  view_->setCaret(g.state == GenerationState::running);
  setAccessibleDescription(text);
}

void ContenderPane::setDifference(const QString& text, bool differs) {
  difference_->setText(text.isEmpty() ? QStringLiteral(" ") : text);
  difference_->setToolTip(text);
  setRole(difference_, differs ? "warning" : "muted");
}

void ContenderPane::paintEvent(QPaintEvent* event) {
  QFrame::paintEvent(event);
  QPainter painter(this);
  painter.setRenderHint(QPainter::Antialiasing);
  painter.setPen(Qt::NoPen);
  painter.setBrush(contenderColor(index_));
  painter.drawRoundedRect(QRectF(space::m, 1, width() - 2 * space::m, 3), 1.5, 1.5);
}

} // namespace bitlathe::gui
