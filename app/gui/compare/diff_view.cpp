// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/compare/diff_view.h"

#include "app/gui/compare/contender_pane.h"
#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "core/judge/divergence.h"

#include <QComboBox>
#include <QHBoxLayout>
#include <QKeyEvent>
#include <QLabel>
#include <QScrollBar>
#include <QTextBrowser>
#include <QToolButton>
#include <QVBoxLayout>

namespace bitlathe::gui {

DiffView::DiffView(QWidget* parent) : QWidget(parent) {
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(space::m, space::s, space::xs, space::xs);
  column->setSpacing(space::xs);
  auto* row = new QHBoxLayout;
  const auto side = [&](const QString& name, const QString& tip) {
    auto* box = new QComboBox(this);
    box->setAccessibleName(name);
    box->setToolTip(tip);
    box->setSizeAdjustPolicy(QComboBox::AdjustToContents);
    connect(box, &QComboBox::activated, this, &DiffView::refresh);
    row->addWidget(box);
    return box;
  };
  from_ = side(tr("Difference from"), tr("Its words that the other does not have are struck out"));
  auto* arrow = new QLabel(QStringLiteral("\u2192"), this);
  setRole(arrow, "muted");
  row->addWidget(arrow);
  to_ = side(tr("Difference to"), tr("Its words that the other does not have are underlined"));
  unit_ = side(tr("Difference by"), tr("What is compared: whole words, or the models' tokens"));
  unit_->addItems({tr("by words"), tr("by tokens")});
  figures_ = new QLabel(this);
  figures_->setFont(smallFont());
  setRole(figures_, "muted");
  figures_->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Preferred);
  figures_->setAlignment(Qt::AlignRight | Qt::AlignVCenter);
  row->addWidget(figures_, 1);
  const auto step = [&](const QString& text, const QString& tip, int by) {
    auto* button = new QToolButton(this);
    button->setText(text);
    button->setToolTip(tip);
    button->setAccessibleName(tip);
    connect(button, &QToolButton::clicked, this, [this, by] { nextChange(by); });
    row->addWidget(button);
  };
  step(QStringLiteral("\u2039"), tr("Previous change (P)"), -1);
  step(QStringLiteral("\u203a"), tr("Next change (N)"), 1);
  column->addLayout(row);
  text_ = new QTextBrowser(this);
  text_->setFrameShape(QFrame::NoFrame);
  text_->setStyleSheet(QStringLiteral("border: none")); // it lies in a card
  text_->setAccessibleName(tr("Differences between two texts"));
  text_->installEventFilter(this);
  column->addWidget(text_, 1);
  setFocusProxy(text_);
  connect(&Theme::instance(), &Theme::changed, this, &DiffView::refresh);
}

void DiffView::setSides(const QList<Generation>& sides) {
  sides_ = sides;
  const auto fill = [&](QComboBox* box, int otherwise) {
    QStringList titles;
    for (const Generation& side : sides)
      titles << side.title;
    QStringList there;
    for (int i = 0; i < box->count(); ++i)
      there << box->itemText(i);
    if (there != titles) {
      box->clear();
      box->addItems(titles);
      box->setCurrentIndex(std::min<int>(otherwise, int(titles.size()) - 1));
    }
  };
  fill(from_, 0);
  fill(to_, 1);
  refresh();
}

void DiffView::refresh() {
  const int a = from_->currentIndex(), b = to_->currentIndex();
  anchors_ = 0;
  at_ = -1;
  if (sides_.size() < 2 || a < 0 || b < 0 || a >= sides_.size() || b >= sides_.size()) {
    text_->setPlainText({});
    text_->setPlaceholderText(tr("With two models, what they write differently is marked here"));
    figures_->clear();
    return;
  }
  const bool words = unit_->currentIndex() == 0;
  const auto cut = [&](const Generation& side) {
    return words ? words_of(side.text().toStdString()) : side.pieces();
  };
  const Pieces left = cut(sides_[a]), right = cut(sides_[b]);
  const auto runs = difference(left, right);
  const ThemeColors& c = theme();
  const auto html = [&](const Pieces& pieces, std::size_t begin, std::size_t end) {
    std::string bytes;
    for (std::size_t i = begin; i < end; ++i)
      bytes += pieces[i];
    QString text = QString::fromStdString(display_text(bytes)).toHtmlEscaped();
    return text.replace(QLatin1Char('\n'), QStringLiteral("<br>"));
  };
  const QString style =
      QStringLiteral("<span style=\"background:%1;color:%2;text-decoration:%3\">");
  const QString removed =
      style.arg(mixed(c.raised, contenderColor(a), 0.24).name(), c.muted.name(), "line-through");
  const QString inserted =
      style.arg(mixed(c.raised, contenderColor(b), 0.30).name(), c.text.name(), "underline");
  QString body;
  std::size_t gone = 0, fresh = 0, same = 0;
  bool changing = false;
  for (const DiffRun& run : runs) {
    if (run.kind == DiffRun::Kind::same) {
      changing = false;
      same += run.reference_end - run.reference_begin;
      body += html(left, run.reference_begin, run.reference_end);
      continue;
    }
    if (!changing)
      body += QStringLiteral("<a name=\"c%1\"></a>").arg(anchors_++);
    changing = true;
    if (run.kind == DiffRun::Kind::removed) {
      gone += run.reference_end - run.reference_begin;
      body += removed + html(left, run.reference_begin, run.reference_end);
    } else {
      fresh += run.candidate_end - run.candidate_begin;
      body += inserted + html(right, run.candidate_begin, run.candidate_end);
    }
    body += QStringLiteral("</span>");
  }
  const int scrolled = text_->verticalScrollBar()->value();
  text_->setHtml(
      QStringLiteral("<div style=\"white-space:pre-wrap;line-height:150%;color:%1\">"
                     "<span style=\"color:%2\">%3</span>%4</div>")
          .arg(c.text.name(), c.muted.name(),
               sides_[a].prompt.toHtmlEscaped().replace(QLatin1Char('\n'), QStringLiteral("<br>")),
               body));
  text_->verticalScrollBar()->setValue(scrolled);
  if (anchors_ == 0) {
    figures_->setText(
        same == 0 ? QString()
                  : tr("no difference in %1 %2").arg(same).arg(words ? tr("words") : tr("tokens")));
    return;
  }
  const double longer = double(std::max(left.size(), right.size()));
  figures_->setText(tr("%1 places \u00b7 %2 struck out, %3 new \u00b7 %4 shared")
                        .arg(anchors_)
                        .arg(gone)
                        .arg(fresh)
                        .arg(formatPercent(longer > 0 ? double(same) / longer : 1, 0)));
}

void DiffView::nextChange(int by) {
  if (anchors_ == 0)
    return;
  at_ = at_ < 0 ? (by > 0 ? 0 : anchors_ - 1) : (at_ + by + anchors_) % anchors_;
  text_->scrollToAnchor(QStringLiteral("c%1").arg(at_));
}

QString DiffView::plainText() const { return text_->toPlainText(); }

void DiffView::keyPressEvent(QKeyEvent* event) {
  if (event->modifiers() == Qt::NoModifier && event->key() == Qt::Key_N)
    return nextChange(1);
  if (event->modifiers() == Qt::NoModifier && event->key() == Qt::Key_P)
    return nextChange(-1);
  QWidget::keyPressEvent(event);
}

bool DiffView::eventFilter(QObject* watched, QEvent* event) {
  if (watched == text_ && event->type() == QEvent::KeyPress) {
    auto* key = static_cast<QKeyEvent*>(event);
    if (key->modifiers() == Qt::NoModifier &&
        (key->key() == Qt::Key_N || key->key() == Qt::Key_P)) {
      nextChange(key->key() == Qt::Key_N ? 1 : -1);
      return true;
    }
  }
  return QWidget::eventFilter(watched, event);
}

} // namespace bitlathe::gui
