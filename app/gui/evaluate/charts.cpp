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
#include <QtCharts/QLegendMarker>
#include <QtCharts/QLineSeries>
#include <QtCharts/QScatterSeries>
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

// --- quality against size -----------------------------------------------------------------------

void QualityChart::setRows(const QList<FigureRow>& rows, double noiseFloor) {
  rows_ = rows;
  noiseFloor_ = noiseFloor;
  rebuild();
}

void QualityChart::setMeasure(Measure measure) {
  measure_ = measure;
  rebuild();
}

void QualityChart::rebuild() {
  chart()->removeAllSeries();
  for (QAbstractAxis* axis : chart()->axes()) {
    chart()->removeAxis(axis);
    delete axis;
  }
  const auto value = [this](const FigureRow& row) {
    return measure_ == Measure::perplexity ? row.perplexity
           : measure_ == Measure::kl       ? row.kl
                                           : 100 * (1 - row.topAgreement);
  };
  const auto error = [this](const FigureRow& row) {
    return measure_ == Measure::perplexity ? row.perplexityError
           : measure_ == Measure::kl       ? row.klError
                                           : 0.0;
  };
  quint64 largest = 0;
  for (const FigureRow& row : rows_)
    largest = std::max(largest, row.bytes);
  const double unit = largest >= (1ull << 30) ? double(1ull << 30) : double(1 << 20);
  Span xs, ys;
  xs.take(0);
  if (measure_ != Measure::perplexity)
    ys.take(0);
  for (int i = 0; i < rows_.size(); ++i) {
    const FigureRow& row = rows_[i];
    if (!row.measured || !std::isfinite(value(row)))
      continue;
    const double x = double(row.bytes) / unit, y = value(row), e = error(row);
    xs.take(x);
    ys.take(y - e);
    ys.take(y + e);
    auto* points = new QScatterSeries(chart());
    points->setName(row.title);
    points->setMarkerShape(i == 0 ? QScatterSeries::MarkerShapeRectangle
                                  : QScatterSeries::MarkerShapeCircle);
    points->setMarkerSize(11);
    points->setColor(contenderColor(i));
    points->setBorderColor(theme().raised);
    points->append(x, y);
    tell(points, this, [row](const QPointF&) {
      return tr("%1\n%2, perplexity %3")
          .arg(row.title, formatBytes(row.bytes), formatError(row.perplexity, row.perplexityError));
    });
    chart()->addSeries(points);
    if (e > 0) {
      auto* bar = new QLineSeries(chart());
      bar->setPen(QPen(contenderColor(i), 2));
      bar->append(x, y - e);
      bar->append(x, y + e);
      chart()->addSeries(bar);
      for (QLegendMarker* marker : chart()->legend()->markers(bar))
        marker->setVisible(false);
    }
  }
  if (ys.empty() || chart()->series().isEmpty()) {
    dress();
    chart()->legend()->setVisible(false);
    return;
  }
  xs = {0, xs.high * 1.12};
  const bool floor = measure_ == Measure::kl && noiseFloor_ > 0;
  if (floor)
    ys.take(noiseFloor_);
  ys = ys.padded(0.15);
  if (measure_ != Measure::perplexity)
    ys.low = std::max(ys.low, 0.0);
  if (floor) {
    auto* line = new QLineSeries(chart());
    line->setName(tr("noise floor"));
    line->setPen(QPen(theme().muted, 1.2, Qt::DashLine));
    line->append(xs.low, noiseFloor_);
    line->append(xs.high, noiseFloor_);
    chart()->addSeries(line);
  }
  const QString up = measure_ == Measure::perplexity ? tr("perplexity")
                     : measure_ == Measure::kl       ? tr("KL divergence (nats)")
                                                     : tr("other first choice (%)");
  auto* across = addAxis(*chart(), Qt::AlignBottom, xs,
                         largest >= (1ull << 30) ? tr("size (GiB)") : tr("size (MiB)"));
  auto* axis = addAxis(*chart(), Qt::AlignLeft, ys, up);
  for (QAbstractSeries* series : chart()->series()) {
    series->attachAxis(across);
    series->attachAxis(axis);
  }
  dress();
}

QString QualityChart::csv() const {
  QString out = QStringLiteral("model,bytes,bits_per_weight,perplexity,perplexity_stderr,kld_mean,"
                               "kld_stderr,top1_agreement\n");
  for (const FigureRow& row : rows_)
    if (row.measured)
      out += QStringLiteral("%1,%2,%3,%4,%5,%6,%7,%8\n")
                 .arg(csvField(row.title))
                 .arg(row.bytes)
                 .arg(row.bitsPerWeight, 0, 'g', 8)
                 .arg(row.perplexity, 0, 'g', 10)
                 .arg(row.perplexityError, 0, 'g', 8)
                 .arg(row.kl, 0, 'g', 10)
                 .arg(row.klError, 0, 'g', 8)
                 .arg(row.topAgreement, 0, 'g', 8);
  return out;
}

// --- along the text -----------------------------------------------------------------------------

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
