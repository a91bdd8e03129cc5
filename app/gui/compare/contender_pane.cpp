// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/compare/contender_pane.h"

#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/elided_label.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QPainter>
#include <QToolButton>
#include <QVBoxLayout>

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

ContenderPane::ContenderPane(int index, const PaneInfo& info, QWidget* parent)
    : QFrame(parent), index_(index) {
  setRole(this, "card");
  setAccessibleName(info.title);
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(1, space::s + 3, 1, 1);
  column->setSpacing(1);

  auto* head = new QHBoxLayout;
  head->setContentsMargins(space::m, 0, space::s, 0);
  auto* title = new ElidedLabel(this);
  title->setFont(titleFont());
  title->setText(info.title);
  title->setToolTip(info.tip.isEmpty() ? info.path : info.path + QLatin1Char('\n') + info.tip);
  head->addWidget(title, 1);
  const auto small = [this](const QString& tip) {
    auto* label = new QLabel(this);
    label->setFont(smallFont());
    setRole(label, "muted");
    label->setToolTip(tip);
    return label;
  };
  state_ = small({});
  head->addWidget(state_);
  // As high with a button as without, so that texts are level.
  head->addItem(new QSpacerItem(0, QToolButton(this).sizeHint().height() + 2));
  if (info.removable) {
    auto* remove = new QToolButton(this);
    remove->setText(QStringLiteral("\u2715"));
    remove->setToolTip(tr("Takes this checkpoint out of the comparison; its files stay"));
    remove->setAccessibleName(tr("Remove %1").arg(info.title));
    connect(remove, &QToolButton::clicked, this, [this] { Q_EMIT removeRequested(index_); });
    head->addWidget(remove);
  }
  column->addLayout(head);
  const auto line = [&](QLabel* label) {
    label->setContentsMargins(space::m, 0, space::m, 0);
    label->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Preferred); // texts stay level
    column->addWidget(label);
  };
  figures_ = small(
      tr("New tokens per second (prompt processing apart), prompt tokens per second, and memory: "
         "weights with what the engine keeps of them, and keys and values at the end of the text"));
  line(figures_);
  difference_ = small({});
  line(difference_);
  view_ = new TokenView(this);
  view_->setColor(contenderColor(index));
  view_->setAccessibleName(tr("Text of %1").arg(info.title));
  view_->setToolTip({});
  column->addWidget(view_, 1);
  figures_->setText(QStringLiteral(" "));
  setDifference({}, false);
  view_->setPlaceholder(info.problem.isEmpty() ? tr("The continuation appears here, token by token")
                                               : info.problem);
}

void ContenderPane::recolor() {
  view_->setColor(contenderColor(index_));
  update();
}

void ContenderPane::show(const Generation& g) {
  QString state, figures;
  switch (g.state) {
  case GenerationState::idle:
    break;
  case GenerationState::waiting:
    state = g.step.isEmpty() ? tr("waiting") : QString(g.step);
    break;
  case GenerationState::running:
    state = g.tokens.isEmpty() ? tr("reading the prompt") : tr("writing");
    break;
  case GenerationState::done:
    state = g.stopReason == QLatin1String("eos")       ? tr("ended by itself")
            : g.stopReason == QLatin1String("context") ? tr("context full")
                                                       : tr("longest length");
    break;
  case GenerationState::stopped:
    state = tr("stopped");
    break;
  case GenerationState::failed:
    state = g.tokens.isEmpty() ? tr("cannot run") : tr("failed");
    view_->setPlaceholder(g.problem);
    break;
  }
  if (!g.tokens.isEmpty()) {
    state = tr("%1 tokens, %2").arg(g.tokens.size()).arg(state);
    figures = g.seconds > 0 ? formatRate(g.tokensPerSecond(), QStringLiteral("tok")) : QString();
    if (g.promptSeconds > 0)
      figures +=
          tr(" \u00b7 prompt %1").arg(formatRate(g.promptTokensPerSecond(), QStringLiteral("tok")));
    if (g.peakBytes > 0)
      figures += tr(" \u00b7 %1 + %2 KV")
                     .arg(formatBytes(g.peakBytes - std::min(g.peakBytes, g.kvBytes)),
                          formatBytes(g.kvBytes));
  }
  state_->setText(state);
  state_->setToolTip(g.problem);
  setRole(state_, g.state == GenerationState::failed ? "error" : "muted");
  figures_->setText(figures.isEmpty() ? QStringLiteral(" ") : figures);
  view_->setCaret(g.state == GenerationState::running);
  setAccessibleDescription(figures.isEmpty() ? state : state + QStringLiteral(", ") + figures);
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
