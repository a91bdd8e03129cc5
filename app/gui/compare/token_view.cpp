// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/compare/token_view.h"

#include "app/gui/format.h"
#include "app/gui/theme.h"

#include <algorithm>
#include <cmath>
#include <QApplication>
#include <QClipboard>
#include <QContextMenuEvent>
#include <QHelpEvent>
#include <QMenu>
#include <QPainter>
#include <QScrollBar>
#include <QToolTip>

namespace bitlathe::gui {
namespace {

constexpr double margin = 12;
constexpr double leading = 1.62; ///< of the font's height; leaves room for marks between lines
const QString break_mark = QStringLiteral("\u21b5");

} // namespace

TokenView::TokenView(QWidget* parent) : QAbstractScrollArea(parent) {
  setFrameShape(QFrame::NoFrame);
  setFocusPolicy(Qt::StrongFocus);
  setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  viewport()->setMouseTracking(true);
  viewport()->setCursor(Qt::IBeamCursor);
  color_ = theme().quantized;
}

double TokenView::textWidth() const {
  return std::max(60.0, double(viewport()->width()) - 2 * margin);
}

void TokenView::setPrompt(const QString& prompt) {
  prompt_ = prompt;
  relayout();
  if (tokens_.isEmpty()) // what comes is seen, however long the prompt
    verticalScrollBar()->setValue(verticalScrollBar()->maximum());
}

void TokenView::setTokens(const QList<ShownToken>& tokens) {
  tokens_ = tokens;
  divergence_ = current_ = under_ = -1;
  agrees_.clear();
  kl_.clear();
  relayout();
}

void TokenView::appendTokens(const QList<ShownToken>& tokens) {
  if (tokens.isEmpty())
    return;
  const bool atEnd = verticalScrollBar()->value() >= verticalScrollBar()->maximum() - 2;
  const qsizetype first = tokens_.size();
  tokens_ += tokens;
  layoutFrom(first);
  if (atEnd)
    verticalScrollBar()->setValue(verticalScrollBar()->maximum());
}

void TokenView::setPlaceholder(const QString& text) {
  placeholder_ = text;
  viewport()->update();
}

void TokenView::setShading(Shading shading) {
  shading_ = shading;
  viewport()->update();
}

void TokenView::setMarks(qsizetype divergence, const QList<bool>& agrees) {
  divergence_ = divergence;
  agrees_ = agrees;
  viewport()->update();
}

void TokenView::setKl(const QList<double>& kl) {
  kl_ = kl;
  viewport()->update();
}

void TokenView::setCurrent(qsizetype token) {
  if (current_ == token)
    return;
  current_ = token;
  viewport()->update();
}

void TokenView::setCaret(bool streaming) {
  caret_ = streaming;
  viewport()->update();
}

QString TokenView::plainText() const {
  QString out = prompt_;
  for (const ShownToken& token : tokens_)
    out += token.text;
  return out;
}

void TokenView::reveal(qsizetype token) {
  const QRectF rect = tokenRect(token);
  if (rect.isNull())
    return;
  QScrollBar* bar = verticalScrollBar();
  if (rect.top() < bar->value())
    bar->setValue(int(rect.top() - margin));
  else if (rect.bottom() > bar->value() + viewport()->height())
    bar->setValue(int(rect.bottom() - viewport()->height() + margin));
}

QRectF TokenView::tokenRect(qsizetype token) const {
  QRectF out;
  for (const Segment& segment : segments_)
    if (segment.token == token)
      out = out.united(segment.rect);
  return out;
}

// --- layout ---------------------------------------------------------------------------------

void TokenView::newLine(Pen& pen) const {
  pen.x = 0;
  pen.y += line_;
}

void TokenView::place(const QList<QPair<qsizetype, QString>>& word, Pen& pen) {
  const QFontMetricsF metrics(font());
  double width = 0;
  for (const auto& [token, text] : word)
    width += metrics.horizontalAdvance(text);
  bool wrapped = false;
  if (pen.x > 0 && pen.x + width > textWidth()) {
    newLine(pen);
    wrapped = true;
  }
  for (const auto& [token, whole] : word) {
    QString text = whole;
    // A space at the start of a wrapped line would indent it; its token stays clickable.
    if (wrapped && pen.x == 0 && text.size() > 1)
      while (text.startsWith(QLatin1Char(' ')) && text.size() > 1)
        text.remove(0, 1);
    while (!text.isEmpty()) {
      qsizetype take = text.size();
      double advance = metrics.horizontalAdvance(text);
      while (take > 1 && pen.x + advance > textWidth() && pen.x == 0)
        advance = metrics.horizontalAdvance(text.left(--take));
      if (pen.x > 0 && pen.x + advance > textWidth()) {
        newLine(pen);
        continue;
      }
      segments_.push_back(
          {QRectF(margin + pen.x, margin + pen.y, advance, line_), token, text.left(take), false});
      pen.x += advance;
      text = text.mid(take);
    }
  }
}

void TokenView::layoutFrom(qsizetype firstToken) {
  const QFontMetricsF metrics(font());
  line_ = std::ceil(metrics.height() * leading);
  // A word may begin in an earlier token: go back to where one starts.
  while (firstToken > 0 && !tokens_[firstToken].text.startsWith(QLatin1Char(' ')))
    --firstToken;
  while (!segments_.isEmpty() && segments_.back().token >= firstToken)
    segments_.pop_back();
  if (firstToken == 0)
    segments_.clear();

  Pen pen;
  if (!segments_.isEmpty()) {
    const Segment& last = segments_.back();
    pen = {last.rect.right() - margin, last.rect.top() - margin};
    if (last.lineBreak)
      newLine(pen);
  }
  QList<QPair<qsizetype, QString>> word;
  const auto flush = [&] {
    if (!word.isEmpty())
      place(word, pen);
    word.clear();
  };
  const auto feed = [&](qsizetype token, const QString& text) {
    QString run;
    const auto end = [&] {
      if (!run.isEmpty())
        word.push_back({token, run});
      run.clear();
    };
    for (const QChar c : text) {
      if (c == QLatin1Char('\n')) {
        end();
        flush();
        const double width = metrics.horizontalAdvance(break_mark);
        segments_.push_back(
            {QRectF(margin + pen.x, margin + pen.y, width, line_), token, break_mark, true});
        newLine(pen);
        continue;
      }
      if (c == QLatin1Char(' ') && !run.endsWith(QLatin1Char(' '))) {
        end();
        flush();
      }
      run += c == QLatin1Char('\t') ? QStringLiteral("    ") : QString(c);
    }
    end();
  };
  if (firstToken == 0 && !prompt_.isEmpty())
    feed(-1, prompt_);
  for (qsizetype i = firstToken; i < tokens_.size(); ++i)
    feed(i, tokens_[i].text);
  flush();
  height_ = pen.y + line_ + 2 * margin;
  updateScrollBars();
  viewport()->update();
}

void TokenView::relayout() { layoutFrom(0); }

void TokenView::updateScrollBars() {
  verticalScrollBar()->setPageStep(viewport()->height());
  verticalScrollBar()->setSingleStep(int(line_));
  verticalScrollBar()->setRange(0, std::max(0, int(height_) - viewport()->height()));
}

void TokenView::resizeEvent(QResizeEvent*) { relayout(); }

void TokenView::changeEvent(QEvent* event) {
  if (event->type() == QEvent::FontChange || event->type() == QEvent::PaletteChange)
    relayout();
  QAbstractScrollArea::changeEvent(event);
}

// --- painting -------------------------------------------------------------------------------

QColor TokenView::shade(qsizetype token) const {
  const ThemeColors& c = theme();
  if (shading_ == Shading::agreement) {
    if (token >= agrees_.size())
      return Qt::transparent;
    return agrees_[token] ? mixed(c.raised, c.ok, 0.13) : mixed(c.raised, c.outlier, 0.24);
  }
  if (shading_ == Shading::divergence) {
    if (token >= kl_.size())
      return Qt::transparent;
    // At most this much of the probability can lie elsewhere (Bretagnolle and Huber's bound), so
    // that the scale ends at 1 and small divergences are still seen.
    return mixed(c.raised, c.outlier, 0.75 * std::sqrt(1 - std::exp(-std::max(0.0, kl_[token]))));
  }
  if (shading_ == Shading::probability && tokens_[token].hasLogprob) {
    // 1 - p, so that surprises stand out and certain text stays calm.
    const double surprise = 1 - std::exp(tokens_[token].logprob);
    return mixed(c.raised, color_, 0.55 * surprise);
  }
  return Qt::transparent;
}

void TokenView::paintEvent(QPaintEvent* event) {
  const ThemeColors& c = theme();
  QPainter painter(viewport());
  painter.fillRect(event->rect(), c.raised);
  painter.setRenderHint(QPainter::Antialiasing);
  if (tokens_.isEmpty() && !placeholder_.isEmpty() && !caret_) {
    painter.setPen(c.muted);
    painter.drawText(viewport()->rect().adjusted(24, 16, -24, -16),
                     Qt::AlignCenter | Qt::TextWordWrap, placeholder_);
    return;
  }
  const double top = verticalScrollBar()->value();
  painter.translate(0, -top);
  const QFontMetricsF metrics(font());
  const double pad = (line_ - metrics.height()) / 2;
  const QRectF visible(0, top, viewport()->width(), viewport()->height());

  for (const Segment& segment : segments_) {
    if (!segment.rect.intersects(visible))
      continue;
    const bool prompt = segment.token < 0;
    const QRectF box = segment.rect.adjusted(0, pad - 1.5, 0, -pad + 1.5);
    if (!prompt) {
      const QColor back = shade(segment.token);
      if (back.alpha() > 0)
        painter.fillRect(box, back);
      if (segment.token == divergence_) {
        painter.setPen(Qt::NoPen);
        painter.setBrush(mixed(c.raised, c.outlier, 0.55));
        painter.drawRoundedRect(box.adjusted(-1, -1, 1, 1), 3, 3);
        // A flag above the word, readable without colour.
        const QPointF tip(box.left() + 4, box.top() - 1);
        painter.setBrush(c.outlier);
        painter.drawPolygon(QPolygonF{tip, tip + QPointF(-4, -6), tip + QPointF(4, -6)});
        painter.fillRect(QRectF(box.left(), box.bottom(), box.width(), 2.5), c.outlier);
      }
      if (segment.token == current_ || segment.token == under_) {
        painter.setPen(QPen(segment.token == under_ ? c.text : c.accent, 1.2));
        painter.setBrush(Qt::NoBrush);
        painter.drawRoundedRect(box.adjusted(-1, -1, 1, 1), 3, 3);
      }
    }
    painter.setPen(prompt || segment.lineBreak ? c.muted : c.text);
    painter.drawText(QPointF(segment.rect.left(), segment.rect.top() + pad + metrics.ascent()),
                     segment.text);
  }
  if (caret_) {
    QRectF at(margin, margin, 0, line_);
    if (!segments_.isEmpty())
      at = segments_.back().lineBreak ? QRectF(margin, segments_.back().rect.bottom(), 0, line_)
                                      : segments_.back().rect;
    painter.fillRect(QRectF(at.right() + 2, at.top() + pad, 6, metrics.height()), color_);
  }
}

// --- input ----------------------------------------------------------------------------------

qsizetype TokenView::tokenAt(const QPoint& position) const {
  const QPointF at(position.x(), position.y() + verticalScrollBar()->value());
  for (const Segment& segment : segments_)
    if (segment.token >= 0 && segment.rect.contains(at))
      return segment.token;
  return -1;
}

void TokenView::mouseMoveEvent(QMouseEvent* event) {
  const qsizetype token = tokenAt(event->pos());
  if (token == under_)
    return;
  under_ = token;
  viewport()->update();
  Q_EMIT hovered(token);
}

void TokenView::mousePressEvent(QMouseEvent* event) {
  if (const qsizetype token = tokenAt(event->pos()); token >= 0)
    Q_EMIT picked(token);
}

void TokenView::leaveEvent(QEvent*) {
  under_ = -1;
  viewport()->update();
  Q_EMIT hovered(-1);
}

void TokenView::move(qsizetype token) {
  if (tokens_.isEmpty())
    return;
  token = std::clamp<qsizetype>(token, 0, tokens_.size() - 1);
  reveal(token);
  Q_EMIT picked(token);
}

void TokenView::keyPressEvent(QKeyEvent* event) {
  if (event->matches(QKeySequence::Copy)) {
    QApplication::clipboard()->setText(plainText());
    return;
  }
  switch (event->key()) {
  case Qt::Key_Left:
    return move(current_ - 1);
  case Qt::Key_Right:
    return move(current_ + 1);
  case Qt::Key_Home:
    return move(0);
  case Qt::Key_End:
    return move(tokens_.size() - 1);
  case Qt::Key_D: // to the first difference
    if (divergence_ >= 0)
      return move(divergence_);
    break;
  default:
    break;
  }
  QAbstractScrollArea::keyPressEvent(event);
}

void TokenView::contextMenuEvent(QContextMenuEvent* event) {
  QMenu menu(this);
  menu.addAction(tr("Copy text"), QKeySequence(QKeySequence::Copy), this,
                 [this] { QApplication::clipboard()->setText(plainText()); });
  QAction* go = menu.addAction(tr("Go to the first difference"), QKeySequence(Qt::Key_D), this,
                               [this] { move(divergence_); });
  go->setEnabled(divergence_ >= 0);
  menu.exec(event->globalPos());
}

bool TokenView::viewportEvent(QEvent* event) {
  if (event->type() == QEvent::ToolTip) {
    auto* help = static_cast<QHelpEvent*>(event);
    const qsizetype token = tokenAt(help->pos());
    if (token >= 0)
      QToolTip::showText(help->globalPos(),
                         tokenTip(tokens_[token], token, color_, kl_.value(token, -1)), this);
    else
      QToolTip::hideText();
    return true;
  }
  return QAbstractScrollArea::viewportEvent(event);
}

QString tokenTip(const ShownToken& token, qsizetype index, const QColor& color, double kl) {
  QString out = QStringLiteral("<b>%1</b>&nbsp; %2")
                    .arg(visibleToken(token.text).toHtmlEscaped(),
                         TokenView::tr("token %1, id %2").arg(index + 1).arg(token.id));
  if (token.hasLogprob)
    out += QStringLiteral("<br>") +
           TokenView::tr("probability %1 (%2 nats)")
               .arg(formatPercent(std::exp(token.logprob), 1), formatNumber(token.logprob, 3));
  if (kl >= 0)
    out += QStringLiteral("<br>") +
           TokenView::tr("KL from the first model here %1 nats").arg(formatNumber(kl, 3));
  if (token.top.isEmpty())
    return out + QStringLiteral("<br><i>%1</i>")
                     .arg(TokenView::tr("No alternatives were recorded for this run"));
  out += QStringLiteral("<table cellspacing=0 cellpadding=2>");
  for (const Alternative& other : token.top) {
    const double p = std::exp(other.logprob);
    const int width = std::max(1, int(std::lround(90 * p)));
    const QString weight = other.id == token.id ? QStringLiteral("b") : QStringLiteral("span");
    out += QStringLiteral(
               "<tr><td><%4>%1</%4></td><td align=right>%2</td><td><table cellspacing=0 "
               "cellpadding=0><tr><td bgcolor=%3 width=%5>&nbsp;</td></tr></table></td></tr>")
               .arg(visibleToken(other.text).toHtmlEscaped(), formatPercent(p, 1), color.name(),
                    weight)
               .arg(width);
  }
  return out + QStringLiteral("</table>");
}

} // namespace bitlathe::gui
