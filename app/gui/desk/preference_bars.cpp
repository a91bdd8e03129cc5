// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/desk/preference_bars.h"

#include "app/gui/compare/contender_pane.h"
#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/save_menu.h"

#include <algorithm>
#include <cmath>
#include <QPainter>

namespace bitlathe::gui {
namespace {

constexpr int bar_height = 20, axis_height = 26;

QString title(const std::vector<DeskModel>& models, std::size_t index) {
  return index < models.size() ? QString::fromStdString(models[index].title) : QString();
}

} // namespace

PreferenceBars::PreferenceBars(QWidget* parent) : QWidget(parent) {
  setAccessibleName(tr("Votes and intervals"));
  setToolTip(tr("Above: votes. Below: the share of decided votes for the model on the right, with "
                "Clopper and Pearson's exact 95 % interval. An interval that reaches over the "
                "middle says that even odds are possible"));
  setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
}

void PreferenceBars::set(const DeskResult& result, const std::vector<DeskModel>& models) {
  result_ = result;
  models_ = models;
  QStringList words;
  for (const DeskPairResult& pair : result_.pairs)
    words << QString::fromStdString(pair.verdict);
  setAccessibleDescription(words.join(' '));
  updateGeometry();
  update();
}

int PreferenceBars::rowHeight() const {
  return 2 * QFontMetrics(font()).height() + bar_height + axis_height + 3 * space::s;
}

QSize PreferenceBars::sizeHint() const {
  return {560, std::max(1, int(result_.pairs.size())) * rowHeight()};
}

QSize PreferenceBars::minimumSizeHint() const { return {320, sizeHint().height()}; }

QString PreferenceBars::csv() const {
  QString out = QStringLiteral("first,second,votes_first,votes_second,ties,both_bad,identical,open,"
                               "share_second,exact_low,exact_high,wilson_low,wilson_high,p\n");
  for (const DeskPairResult& pair : result_.pairs) {
    const DeskCounts& c = pair.counts;
    QStringList fields{csvField(title(models_, pair.models.a)),
                       csvField(title(models_, pair.models.b))};
    for (const std::int64_t n : {c.first, c.second, c.ties, c.both_bad, c.identical, c.open})
      fields << QString::number(n);
    for (const double x :
         {pair.preferred.share, pair.preferred.exact.low, pair.preferred.exact.high,
          pair.preferred.wilson.low, pair.preferred.wilson.high, pair.p})
      fields << (std::isnan(x) ? QString() : QString::number(x, 'g', 10));
    out += fields.join(',') + '\n';
  }
  return out;
}

void PreferenceBars::paintPair(QPainter& painter, const QRectF& area,
                               const DeskPairResult& pair) const {
  const ThemeColors& c = theme();
  const QFontMetrics metrics(font());
  const QColor first = contenderColor(int(pair.models.a)),
               second = contenderColor(int(pair.models.b));
  // Names over their ends.
  QRectF names(area.left(), area.top(), area.width(), metrics.height());
  painter.setFont(font());
  const double half = area.width() / 2 - space::s;
  painter.setPen(first);
  painter.drawText(names, Qt::AlignLeft | Qt::AlignVCenter,
                   metrics.elidedText(title(models_, pair.models.a), Qt::ElideRight, int(half)));
  painter.setPen(second);
  painter.drawText(names, Qt::AlignRight | Qt::AlignVCenter,
                   metrics.elidedText(title(models_, pair.models.b), Qt::ElideRight, int(half)));
  // Votes.
  const QRectF bar(area.left(), names.bottom() + space::xs, area.width(), bar_height);
  const struct {
    std::int64_t votes;
    QColor color;
    QString word;
  } parts[] = {
      {pair.counts.first, first, QString()},
      {pair.counts.ties + pair.counts.identical, mixed(c.raised, c.muted, 0.35), tr("tie")},
      {pair.counts.both_bad, mixed(c.raised, c.muted, 0.7), tr("both bad")},
      {pair.counts.second, second, QString()}};
  const double all = double(std::max<std::int64_t>(1, pair.counts.judged()));
  double x = bar.left();
  for (const auto& part : parts) {
    const double width = bar.width() * double(part.votes) / all;
    const QRectF piece(x, bar.top(), width, bar.height());
    x += width;
    if (part.votes == 0)
      continue;
    painter.fillRect(piece.adjusted(0.5, 0, -0.5, 0), part.color);
    painter.setPen(textOn(part.color));
    const QString number = QString::number(part.votes);
    const QString words = part.word.isEmpty() ? number : number + ' ' + part.word;
    painter.drawText(piece, Qt::AlignCenter,
                     metrics.horizontalAdvance(words) < width - 4 ? words : number);
  }
  if (pair.counts.judged() == 0)
    painter.fillRect(bar, c.grid);
  // The interval on its scale.
  const double middle = bar.bottom() + space::s + 7;
  const auto at = [&](double share) { return area.left() + share * area.width(); };
  painter.setPen(QPen(c.border, 1));
  painter.drawLine(QPointF(at(0), middle), QPointF(at(1), middle));
  painter.setPen(QPen(c.muted, 1, Qt::DashLine));
  painter.drawLine(QPointF(at(0.5), bar.bottom() + 3), QPointF(at(0.5), middle + 9));
  if (pair.preferred.of > 0) {
    const QColor color =
        pair.distinguishable ? (pair.preferred.share > 0.5 ? second : first) : c.text;
    painter.setPen(QPen(color, 2.4));
    const double low = at(pair.preferred.exact.low), high = at(pair.preferred.exact.high);
    painter.drawLine(QPointF(low, middle), QPointF(high, middle));
    for (const double end : {low, high})
      painter.drawLine(QPointF(end, middle - 5), QPointF(end, middle + 5));
    painter.setBrush(color);
    painter.setPen(QPen(c.raised, 1.5));
    painter.drawEllipse(QPointF(at(pair.preferred.share), middle), 5.5, 5.5);
  }
  painter.setFont(smallFont());
  painter.setPen(c.muted);
  const QRectF words(area.left(), middle + 9, area.width(), QFontMetrics(smallFont()).height());
  painter.drawText(words, Qt::AlignLeft, QStringLiteral("0 %"));
  painter.drawText(words, Qt::AlignRight, QStringLiteral("100 %"));
  painter.drawText(words, Qt::AlignCenter,
                   pair.preferred.of > 0 ? tr("%1 of decided votes, 95 % interval %2 to %3")
                                               .arg(formatPercent(pair.preferred.share, 0),
                                                    formatPercent(pair.preferred.exact.low, 0),
                                                    formatPercent(pair.preferred.exact.high, 0))
                                         : tr("no decided votes"));
}

void PreferenceBars::paintEvent(QPaintEvent*) {
  QPainter painter(this);
  painter.setRenderHint(QPainter::Antialiasing);
  double y = 0;
  for (const DeskPairResult& pair : result_.pairs) {
    paintPair(painter, QRectF(8, y + 2, width() - 16, rowHeight() - space::s), pair);
    y += rowHeight();
  }
}

} // namespace bitlathe::gui
