// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/evaluate/charts.h"

#include "app/gui/compare/contender_pane.h"
#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/save_menu.h"

#include <algorithm>
#include <cmath>
#include <QEvent>
#include <QGraphicsLayout>
#include <QtCharts/QLineSeries>
#include <QtCharts/QValueAxis>
#include <QToolTip>

namespace bitlathe::gui {
namespace {

struct Span {
  double low = INFINITY, high = -INFINITY;
  void take(double value) {
    if (std::isfinite(value)) {
      low = std::min(low, value);
      high = std::max(high, value);
    }
  }
  bool empty() const { return !(low <= high); }
  /// Room around, and some width when there is one value only.
  Span padded(double share) const {
    const double width = high - low;
    const double room = width > 0 ? share * width : std::max(std::abs(high) * 0.1, 1e-9);
    return {low - room, high + room};
  }
};

QString labelFormat(double span) {
  const int digits = std::clamp(int(std::ceil(-std::log10(span / 4))), 0, 8);
  return QStringLiteral("%.%1f").arg(digits);
}

QValueAxis* addAxis(QChart& chart, Qt::Alignment side, const Span& span, const QString& title) {
  auto* axis = new QValueAxis(&chart);
  axis->setRange(span.low, span.high);
  axis->setTickCount(4);
  axis->setTitleText(title);
  axis->applyNiceNumbers();
  axis->setLabelFormat(labelFormat(axis->max() - axis->min()));
  chart.addAxis(axis, side);
  return axis;
}

void tell(QXYSeries* series, QWidget* at, std::function<QString(const QPointF&)> words) {
  QObject::connect(series, &QXYSeries::hovered, at,
                   [at, words = std::move(words)](const QPointF& point, bool over) {
                     if (over)
                       QToolTip::showText(QCursor::pos(), words(point), at);
                     else
                       QToolTip::hideText();
                   });
}

} // namespace

ThemedChart::ThemedChart(QWidget* parent) : QChartView(parent) {
  setRenderHint(QPainter::Antialiasing);
  setFrameShape(QFrame::NoFrame);
  chart()->setAnimationOptions(QChart::NoAnimation);
  chart()->setMargins(QMargins(0, 0, 0, 0));
  chart()->layout()->setContentsMargins(0, 0, 0, 0);
  chart()->setBackgroundRoundness(0);
  setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  setVerticalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
}

void ThemedChart::changeEvent(QEvent* event) {
  QChartView::changeEvent(event);
  if (event->type() == QEvent::PaletteChange)
    rebuild();
}

void ThemedChart::dress() {
  const ThemeColors& c = theme();
  setBackgroundBrush(c.raised);
  chart()->setBackgroundBrush(c.raised);
  chart()->setBackgroundPen(Qt::NoPen);
  QFont font = smallFont();
  for (QAbstractAxis* axis : chart()->axes()) {
    axis->setLabelsBrush(c.muted);
    axis->setLabelsFont(font);
    axis->setTitleBrush(c.muted);
    axis->setTitleFont(font);
    axis->setGridLinePen(QPen(c.grid, 1));
    axis->setLinePen(QPen(c.border, 1));
  }
  QLegend* legend = chart()->legend();
  legend->setVisible(true);
  legend->setAlignment(Qt::AlignBottom);
  legend->setLabelBrush(c.text);
  legend->setFont(font);
  legend->setMarkerShape(QLegend::MarkerShapeFromSeries);
}

void WindowChart::setLines(const QList<Line>& lines) {
  lines_ = lines;
  rebuild();
}

void WindowChart::setMeasure(Measure measure) {
  measure_ = measure;
  rebuild();
}

void WindowChart::rebuild() {
  chart()->removeAllSeries();
  for (QAbstractAxis* axis : chart()->axes()) {
    chart()->removeAxis(axis);
    delete axis;
  }
  Span ys;
  ys.take(0);
  qsizetype windows = 0;
  for (const Line& line : lines_) {
    const QList<double>& values = measure_ == Measure::nll ? line.nll : line.kl;
    if (values.isEmpty())
      continue;
    windows = std::max(windows, values.size());
    QList<QPointF> points;
    for (qsizetype i = 0; i < values.size(); ++i) {
      points.push_back({double(i + 1), values[i]});
      ys.take(values[i]);
    }
    auto* series = new QLineSeries(chart());
    series->setName(line.title);
    series->setPen(QPen(contenderColor(line.contender), 1.8));
    series->setPointsVisible(values.size() <= 64);
    series->replace(points);
    tell(series, this, [title = line.title](const QPointF& at) {
      return tr("%1\nwindow %2: %3 nats per token")
          .arg(title)
          .arg(std::lround(at.x()))
          .arg(formatNumber(at.y(), 3));
    });
    chart()->addSeries(series);
  }
  if (windows == 0) {
    dress();
    chart()->legend()->setVisible(false);
    return;
  }
  const Span xs{0.5, double(windows) + 0.5};
  auto* zero = new QLineSeries(chart());
  zero->setName(tr("original"));
  zero->setPen(QPen(theme().original, 1.4));
  zero->append(xs.low, 0);
  zero->append(xs.high, 0);
  chart()->addSeries(zero);
  auto* across = addAxis(*chart(), Qt::AlignBottom, xs, tr("window of the text"));
  across->setLabelFormat(QStringLiteral("%.0f"));
  across->setRange(xs.low, xs.high);
  across->setTickType(QValueAxis::TicksDynamic);
  across->setTickAnchor(1);
  const double rough = std::max(1.0, double(windows) / 6);
  const double base = std::pow(10.0, std::floor(std::log10(rough)));
  across->setTickInterval(std::max(1.0, (rough / base < 2 ? 2 : rough / base < 5 ? 5 : 10) * base));
  if (windows <= 10)
    across->setTickInterval(1);
  auto* up = addAxis(*chart(), Qt::AlignLeft, ys.padded(0.12),
                     measure_ == Measure::nll ? tr("NLL \u2212 original") : tr("KL divergence"));
  for (QAbstractSeries* series : chart()->series()) {
    series->attachAxis(across);
    series->attachAxis(up);
  }
  dress();
}

QString WindowChart::csv() const {
  QString out = QStringLiteral("model,window,nll_difference,kld_mean\n");
  for (const Line& line : lines_)
    for (qsizetype i = 0; i < line.nll.size(); ++i)
      out += QStringLiteral("%1,%2,%3,%4\n")
                 .arg(csvField(line.title))
                 .arg(i + 1)
                 .arg(line.nll[i], 0, 'g', 10)
                 .arg(i < line.kl.size() ? QString::number(line.kl[i], 'g', 10) : QString());
  return out;
}

} // namespace bitlathe::gui
