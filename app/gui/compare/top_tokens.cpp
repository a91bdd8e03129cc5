// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/compare/top_tokens.h"

#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/save_menu.h"

#include <cmath>
#include <QPainter>

namespace bitlathe::gui {
namespace {

constexpr int row_height = 19, shown_rows = 5;

} // namespace

TopTokens::TopTokens(QWidget* parent) : QWidget(parent) {
  setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Preferred);
  setAccessibleName(tr("Likeliest tokens"));
}

QSize TopTokens::sizeHint() const { return {480, (shown_rows + 1) * row_height + 6}; }

void TopTokens::set(const QList<Side>& sides, const QString& hint) {
  sides_ = sides;
  hint_ = hint;
  QStringList words;
  for (const Side& side : sides_)
    if (side.present)
      words << tr("%1: %2, %3")
                   .arg(side.title, visibleToken(side.token.text),
                        side.token.hasLogprob ? formatPercent(std::exp(side.token.logprob))
                                              : tr("probability unknown"));
  setAccessibleDescription(words.isEmpty() ? hint : words.join(QStringLiteral("; ")));
  update();
}

void TopTokens::paintEvent(QPaintEvent*) {
  const ThemeColors& c = theme();
  QPainter painter(this);
  painter.setRenderHint(QPainter::Antialiasing);
  if (sides_.isEmpty()) {
    painter.setPen(c.muted);
    painter.drawText(rect().adjusted(space::l, 0, -space::l, 0), Qt::AlignCenter | Qt::TextWordWrap,
                     hint_);
    return;
  }
  const double column = double(width() + space::l) / double(sides_.size());
  const int rows = std::max(1, std::min(shown_rows, (height() - row_height) / row_height));
  for (int i = 0; i < sides_.size(); ++i) {
    const Side& side = sides_[i];
    const QRectF area(i * column, 0, column - space::l, height());
    painter.setFont(smallFont());
    painter.setPen(side.color);
    const QFontMetrics metrics(painter.font());
    painter.drawText(QRectF(area.left(), 0, area.width(), row_height),
                     Qt::AlignLeft | Qt::AlignVCenter,
                     metrics.elidedText(side.title, Qt::ElideRight, int(area.width())));
    if (!side.present || side.token.top.isEmpty()) {
      painter.setPen(c.muted);
      painter.drawText(QRectF(area.left(), row_height, area.width(), 2 * row_height),
                       Qt::AlignLeft | Qt::AlignTop | Qt::TextWordWrap,
                       side.present ? tr("no alternatives recorded")
                                    : tr("ended before this token"));
      continue;
    }
    const double words = std::min(120.0, area.width() * 0.36), percent = 52;
    for (int r = 0; r < rows && r < side.token.top.size(); ++r) {
      const Alternative& one = side.token.top[r];
      const double p = std::exp(one.logprob), y = row_height * (r + 1);
      const bool chosen = one.id == side.token.id;
      const QRectF line(area.left(), y, area.width(), row_height - 2);
      if (chosen) {
        painter.setPen(Qt::NoPen);
        painter.setBrush(mixed(c.raised, side.color, 0.14));
        painter.drawRoundedRect(line.adjusted(-3, 0, 3, 0), 3, 3);
      }
      QFont font = codeFont();
      font.setBold(chosen);
      painter.setFont(font);
      painter.setPen(c.text);
      painter.drawText(
          QRectF(line.left() + 2, y, words - 4, line.height()), Qt::AlignLeft | Qt::AlignVCenter,
          QFontMetrics(font).elidedText(visibleToken(one.text), Qt::ElideRight, int(words) - 4));
      const double room = std::max(4.0, line.width() - words - percent);
      painter.setPen(Qt::NoPen);
      painter.setBrush(c.grid);
      painter.drawRoundedRect(QRectF(line.left() + words, y + 5, room, 7), 3, 3);
      painter.setBrush(chosen ? side.color : mixed(c.raised, side.color, 0.55));
      painter.drawRoundedRect(QRectF(line.left() + words, y + 5, std::max(2.0, room * p), 7), 3, 3);
      painter.setFont(numberFont());
      painter.setPen(chosen ? c.text : c.muted);
      painter.drawText(QRectF(line.right() - percent, y, percent, line.height()),
                       Qt::AlignRight | Qt::AlignVCenter,
                       p < 0.0005 ? QStringLiteral("< 0.1 %") : formatPercent(p, 1));
    }
  }
}

QString TopTokens::csv() const {
  QString out = QStringLiteral("model,rank,id,token,probability,chosen\n");
  for (const Side& side : sides_)
    for (int r = 0; side.present && r < side.token.top.size(); ++r) {
      const Alternative& one = side.token.top[r];
      out += QStringLiteral("%1,%2,%3,%4,%5,%6\n")
                 .arg(csvField(side.title))
                 .arg(r + 1)
                 .arg(one.id)
                 .arg(csvField(one.text))
                 .arg(std::exp(one.logprob), 0, 'g', 8)
                 .arg(one.id == side.token.id ? 1 : 0);
    }
  return out;
}

} // namespace bitlathe::gui
