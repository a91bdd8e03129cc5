// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/compare/kl_strip.h"

#include "app/gui/compare/contender_pane.h"
#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/save_menu.h"

#include <algorithm>
#include <cmath>
#include <QHelpEvent>
#include <QKeyEvent>
#include <QPainter>
#include <QToolTip>

namespace bitlathe::gui {
namespace {

constexpr double axis_width = 44;

} // namespace

KlStrip::KlStrip(QWidget* parent) : QWidget(parent) {
  setMouseTracking(true);
  setFocusPolicy(Qt::StrongFocus);
  setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Preferred);
  setAccessibleName(tr("KL divergence per token"));
}

void KlStrip::set(const QList<Side>& sides, const QList<QString>& words, const QString& hint) {
  sides_ = sides;
  words_ = words;
  hint_ = hint;
  under_ = -1;
  setAccessibleDescription(empty() ? hint : summary());
  update();
}

void KlStrip::setCurrent(qsizetype token) {
  if (current_ == token)
    return;
  current_ = token;
  update();
}

qsizetype KlStrip::tokens() const {
  qsizetype out = 0;
  for (const Side& side : sides_)
    out = std::max(out, side.kl.size());
  return out;
}

bool KlStrip::empty() const { return tokens() == 0; }

QString KlStrip::summary() const {
  QStringList out;
  for (const Side& side : sides_) {
    double sum = 0, top = 0;
    qsizetype at = -1;
    for (qsizetype i = 0; i < side.kl.size(); ++i) {
      sum += side.kl[i];
      if (at < 0 || side.kl[i] > top) {
        top = side.kl[i];
        at = i;
      }
    }
    if (at >= 0)
      out << (sides_.size() > 1
                  ? tr("%1: mean %2, most %3 at token %4")
                        .arg(side.title, formatNumber(sum / double(side.kl.size()), 3),
                             formatNumber(top, 3))
                        .arg(at + 1)
                  : tr("mean %1 nats, most %2 at token %3 (%4)")
                        .arg(formatNumber(sum / double(side.kl.size()), 3), formatNumber(top, 3))
                        .arg(at + 1)
                        .arg(visibleToken(words_.value(at))));
    else if (!side.problem.isEmpty())
      out << tr("%1: %2").arg(side.title, side.problem);
  }
  return out.join(QStringLiteral(" \u00b7 "));
}

QString KlStrip::csv() const {
  QString out = QStringLiteral("token,text");
  for (const Side& side : sides_)
    out += QLatin1Char(',') + csvField(side.title);
  out += QLatin1Char('\n');
  for (qsizetype i = 0; i < tokens(); ++i) {
    out += QStringLiteral("%1,%2").arg(i + 1).arg(csvField(words_.value(i)));
    for (const Side& side : sides_)
      out += i < side.kl.size() ? QStringLiteral(",%1").arg(side.kl[i], 0, 'g', 8)
                                : QStringLiteral(",");
    out += QLatin1Char('\n');
  }
  return out;
}

QRectF KlStrip::plot() const { return QRectF(rect()).adjusted(axis_width, 9, -space::s, -3); }

void KlStrip::paintEvent(QPaintEvent*) {
  const ThemeColors& c = theme();
  QPainter painter(this);
  painter.setRenderHint(QPainter::Antialiasing);
  const qsizetype n = tokens();
  if (n == 0) {
    painter.setPen(c.muted);
    painter.setFont(smallFont());
    painter.drawText(rect().adjusted(space::m, 0, -space::m, 0), Qt::AlignCenter | Qt::TextWordWrap,
                     hint_);
    return;
  }
  const QRectF area = plot();
  double top = 1e-6;
  for (const Side& side : sides_)
    for (const double kl : side.kl)
      top = std::max(top, kl);
  // A square-root scale: small divergences are seen beside large ones.
  const auto height = [&](double kl) {
    return area.height() * std::sqrt(std::clamp(kl / top, 0.0, 1.0));
  };
  painter.setFont(smallFont());
  for (const double share : {1.0, 0.25, 0.0}) {
    const double y = area.bottom() - area.height() * std::sqrt(share);
    painter.setPen(c.grid);
    painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y));
    painter.setPen(c.muted);
    const double text = std::min(y - 8, double(rect().height()) - 16); // the lowest stays whole
    painter.drawText(QRectF(0, text, axis_width - 5, 16), Qt::AlignRight | Qt::AlignVCenter,
                     formatNumber(top * share, 2));
  }
  const double slot = area.width() / double(n);
  const double gap = std::min(2.0, slot * 0.15);
  const double bar = (slot - gap) / double(sides_.size());
  for (const qsizetype marked : {current_, under_})
    if (marked >= 0 && marked < n) {
      painter.fillRect(
          QRectF(area.left() + double(marked) * slot, area.top() - 4, slot, area.height() + 4),
          mixed(c.raised, c.accent, marked == under_ ? 0.22 : 0.14));
    }
  painter.setPen(Qt::NoPen);
  for (int s = 0; s < sides_.size(); ++s) {
    const Side& side = sides_[s];
    for (qsizetype i = 0; i < side.kl.size(); ++i) {
      const double h = std::max(1.0, height(side.kl[i]));
      painter.fillRect(QRectF(area.left() + double(i) * slot + gap / 2 + bar * s, area.bottom() - h,
                              std::max(0.6, bar), h),
                       contenderColor(side.index));
    }
    // Where its own text leaves the reference's: the flag of the panes.
    if (side.partsAt >= 0 && side.partsAt < n) {
      const QPointF tip(area.left() + (double(side.partsAt) + 0.5) * slot, area.top() - 1);
      painter.setBrush(c.outlier);
      painter.drawPolygon(QPolygonF{tip, tip + QPointF(-4, -6), tip + QPointF(4, -6)});
    }
  }
  if (hasFocus()) {
    painter.setPen(QPen(c.accent, 1));
    painter.setBrush(Qt::NoBrush);
    painter.drawRoundedRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4);
  }
}

qsizetype KlStrip::tokenAt(const QPoint& position) const {
  const QRectF area = plot();
  const qsizetype n = tokens();
  if (n == 0 || position.x() < area.left() || position.x() >= area.right())
    return -1;
  return std::clamp<qsizetype>(
      qsizetype((double(position.x()) - area.left()) / area.width() * double(n)), 0, n - 1);
}

QString KlStrip::tip(qsizetype token) const {
  QString out = tr("<b>%1</b>&nbsp; token %2 of the first model's text")
                    .arg(visibleToken(words_.value(token)).toHtmlEscaped())
                    .arg(token + 1);
  for (const Side& side : sides_) {
    if (token < side.kl.size())
      out +=
          tr("<br>%1: KL %2 nats").arg(side.title.toHtmlEscaped(), formatNumber(side.kl[token], 3));
    if (side.partsAt == token)
      out += tr(" (its own text parts here)");
  }
  return out;
}

void KlStrip::mouseMoveEvent(QMouseEvent* event) {
  const qsizetype token = tokenAt(event->pos());
  if (token == under_)
    return;
  under_ = token;
  update();
  Q_EMIT hovered(token);
}

void KlStrip::mousePressEvent(QMouseEvent* event) {
  if (const qsizetype token = tokenAt(event->pos()); token >= 0)
    Q_EMIT picked(token);
}

void KlStrip::leaveEvent(QEvent*) {
  under_ = -1;
  update();
  Q_EMIT hovered(-1);
}

qsizetype KlStrip::worst() const {
  qsizetype at = -1;
  double top = -1;
  for (const Side& side : sides_)
    for (qsizetype i = 0; i < side.kl.size(); ++i)
      if (side.kl[i] > top) {
        top = side.kl[i];
        at = i;
      }
  return at;
}

void KlStrip::keyPressEvent(QKeyEvent* event) {
  const qsizetype n = tokens();
  const auto go = [&](qsizetype token) { Q_EMIT picked(std::clamp<qsizetype>(token, 0, n - 1)); };
  if (n > 0)
    switch (event->key()) {
    case Qt::Key_Left:
      return go(current_ - 1);
    case Qt::Key_Right:
      return go(current_ + 1);
    case Qt::Key_Home:
      return go(0);
    case Qt::Key_End:
      return go(n - 1);
    case Qt::Key_W: // to the worst token
      return go(worst());
    default:
      break;
    }
  QWidget::keyPressEvent(event);
}

bool KlStrip::event(QEvent* event) {
  if (event->type() == QEvent::ToolTip) {
    auto* help = static_cast<QHelpEvent*>(event);
    if (const qsizetype token = tokenAt(help->pos()); token >= 0)
      QToolTip::showText(help->globalPos(), tip(token), this);
    else
      QToolTip::hideText();
    return true;
  }
  return QWidget::event(event);
}

} // namespace bitlathe::gui
