// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/evaluate/quality_chart.h"

#include "app/gui/compare/contender_pane.h"
#include "app/gui/format.h"
#include "app/gui/inspect/plot_axes.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/save_menu.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <QMouseEvent>
#include <QPainter>
#include <QPainterPath>
#include <QToolTip>

namespace bitlathe::gui {
namespace {

using Kind = QualityPoint::Kind;
using Measure = QualityChart::Measure;

double value(const QualityPoint& p, Measure measure) {
  return measure == Measure::perplexity ? p.perplexity : measure == Measure::kl ? p.kl : p.misses;
}

double error(const QualityPoint& p, Measure measure) {
  return measure == Measure::perplexity ? p.perplexityError
         : measure == Measure::kl       ? p.klError
                                        : p.missesError;
}

/// Baselines behind everything, the current variant in front.
QList<int> fromBack(const QList<QualityPoint>& points) {
  QList<int> order(points.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    const auto rank = [](const QualityPoint& p) {
      return p.kind == Kind::baseline ? 0 : p.current ? 2 : 1;
    };
    return rank(points[a]) < rank(points[b]);
  });
  return order;
}

QColor colorOf(const QualityPoint& p) {
  return p.kind == Kind::original   ? theme().original
         : p.kind == Kind::baseline ? theme().muted
                                    : contenderColor(p.color);
}

} // namespace

/// Places of values on the widget.
struct QualityChart::Frame {
  QRectF area;
  double unit = 1, least = 0, most = 1, low = 0, high = 1;
  bool logarithmic = false, gib = false, floor = false;

  double x(double bytes) const {
    return area.left() + (bytes / unit - least) / (most - least) * area.width();
  }
  double y(double v) const {
    const double part = logarithmic ? (v > 0 ? (std::log10(v) - low) / (high - low) : 0.02)
                                    : (v - low) / (high - low);
    return area.bottom() - std::clamp(part, 0.0, 1.0) * area.height();
  }
};

QualityChart::QualityChart(QWidget* parent) : QWidget(parent) {
  setMouseTracking(true);
  setFocusPolicy(Qt::StrongFocus);
  setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Expanding);
}

void QualityChart::setPoints(const QList<QualityPoint>& points, double noiseFloor) {
  points_ = points;
  noiseFloor_ = noiseFloor;
  under_ = -1;
  setAccessibleDescription(tr("%n models measured", nullptr, int(points.size())));
  update();
}

void QualityChart::setMeasure(Measure measure) {
  measure_ = measure;
  update();
}

void QualityChart::setLogarithmic(bool logarithmic) {
  logarithmic_ = logarithmic;
  update();
}

QList<int> QualityChart::front(const QList<QualityPoint>& points, Measure measure) {
  QList<int> order(points.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) {
    const auto key = [&](int i) { return std::pair(points[i].bytes, value(points[i], measure)); };
    return key(a) < key(b);
  });
  QList<int> out;
  double best = INFINITY;
  for (const int i : order)
    if (const double v = value(points[i], measure); v < best) {
      best = v;
      out.push_back(i);
    }
  return out;
}

QualityChart::Frame QualityChart::frame() const {
  Frame f;
  const QFontMetrics metrics(smallFont());
  f.area = QRectF(rect()).adjusted(metrics.horizontalAdvance(QStringLiteral("0.00000")) + 24, 8,
                                   -14, -2.0 * metrics.height() - 26);
  double small = INFINITY, large = 0, low = INFINITY, high = -INFINITY;
  for (const QualityPoint& p : points_) {
    small = std::min(small, double(p.bytes));
    large = std::max(large, double(p.bytes));
    const double v = value(p, measure_), e = error(p, measure_);
    if (logarithmic_ && v <= 0)
      continue; // drawn at the edge
    low = std::min(low, logarithmic_ && v - e <= 0 ? v / 2 : v - e);
    high = std::max(high, v + e);
  }
  // A floor far below everything would leave no room for what is to be told apart.
  f.floor = measure_ == Measure::kl && noiseFloor_ > 0 && low <= high &&
            (!logarithmic_ || noiseFloor_ > low / 30);
  if (f.floor) {
    low = std::min(low, noiseFloor_);
    high = std::max(high, noiseFloor_);
  }
  f.gib = large >= double(1ull << 30);
  f.unit = f.gib ? double(1ull << 30) : double(1 << 20);
  const double width = std::max(large - small, large * 0.05);
  f.least = std::max(0.0, (small - 0.10 * width) / f.unit);
  f.most = std::max((large + 0.14 * width) / f.unit, f.least + 1e-9);
  f.logarithmic = logarithmic_ && high > 0;
  if (!(low <= high))
    low = 0, high = 1;
  if (f.logarithmic) {
    f.low = std::log10(std::max(low, high * 1e-9));
    f.high = std::log10(high);
    const double room = std::max(0.12, 0.1 * (f.high - f.low));
    f.low -= room;
    f.high += room;
  } else {
    const double room = high > low ? 0.12 * (high - low) : std::max(std::abs(high) * 0.1, 1e-9);
    f.low = measure_ == Measure::perplexity ? low - room : std::min(0.0, low);
    f.high = high + room;
  }
  return f;
}

QPointF QualityChart::place(int point) const {
  const Frame f = frame();
  const QualityPoint& p = points_[point];
  return {f.x(double(p.bytes)), f.y(value(p, measure_))};
}

void QualityChart::paintEvent(QPaintEvent*) {
  const ThemeColors& c = theme();
  QPainter painter(this);
  painter.setRenderHint(QPainter::Antialiasing);
  painter.setFont(smallFont());
  const QFontMetrics metrics(painter.font());
  if (points_.isEmpty()) {
    painter.setPen(c.muted);
    painter.drawText(rect(), Qt::AlignCenter | Qt::TextWordWrap,
                     tr("Points appear here when models are measured"));
    return;
  }
  const Frame f = frame();
  std::vector<Tick> ups;
  if (f.logarithmic) {
    for (int power = int(std::floor(f.low)); power <= int(std::ceil(f.high)); ++power)
      for (const int step : {1, 2, 5})
        if (const double v = step * std::pow(10.0, power); std::log10(v) >= f.low &&
                                                           std::log10(v) <= f.high &&
                                                           (step == 1 || f.high - f.low < 2.5))
          ups.push_back({v, formatNumber(v, 2)});
  } else {
    ups = niceTicks(f.low, f.high, std::max(2, int(f.area.height() / 40)));
  }
  double last = INFINITY;
  for (const Tick& tick : ups) {
    const double y = f.y(tick.value);
    if (last - y < metrics.height())
      continue;
    last = y;
    painter.setPen(c.grid);
    painter.drawLine(QPointF(f.area.left(), y), QPointF(f.area.right(), y));
    painter.setPen(c.muted);
    painter.drawText(QRectF(0, y - 9, f.area.left() - 6, 18), Qt::AlignRight | Qt::AlignVCenter,
                     tick.text);
  }
  for (const Tick& tick : niceTicks(f.least, f.most, std::max(2, int(f.area.width() / 80)))) {
    const double x = f.x(tick.value * f.unit);
    painter.setPen(c.grid);
    painter.drawLine(QPointF(x, f.area.top()), QPointF(x, f.area.bottom()));
    painter.setPen(c.muted);
    painter.drawText(QRectF(x - 40, f.area.bottom() + 3, 80, metrics.height()), Qt::AlignHCenter,
                     tick.text);
  }
  painter.setPen(c.border);
  painter.drawLine(f.area.bottomLeft(), f.area.bottomRight());
  painter.save();
  painter.translate(metrics.height() - 3, f.area.center().y());
  painter.rotate(-90);
  painter.setPen(c.muted);
  painter.drawText(QRectF(-120, -metrics.height(), 240, metrics.height()), Qt::AlignCenter,
                   measure_ == Measure::perplexity ? tr("perplexity")
                   : measure_ == Measure::kl       ? tr("KL divergence (nats)")
                                                   : tr("other first choice (%)"));
  painter.restore();

  const auto placed = [&](int i) {
    return QPointF(f.x(double(points_[i].bytes)), f.y(value(points_[i], measure_)));
  };
  if (f.floor) {
    painter.setPen(QPen(c.muted, 1.2, Qt::DashLine));
    painter.drawLine(QPointF(f.area.left(), f.y(noiseFloor_)),
                     QPointF(f.area.right(), f.y(noiseFloor_)));
  }
  QList<int> line;
  for (int i = 0; i < points_.size(); ++i)
    if (points_[i].kind == Kind::baseline)
      line.push_back(i);
  std::sort(line.begin(), line.end(),
            [&](int a, int b) { return points_[a].bytes < points_[b].bytes; });
  QPolygonF grey;
  for (const int i : line)
    grey << placed(i);
  painter.setPen(QPen(mixed(c.raised, c.muted, 0.55), 1.6));
  painter.drawPolyline(grey);

  const QList<int> best = front(points_, measure_);
  QPainterPath steps;
  for (qsizetype k = 0; k < best.size(); ++k) {
    const QPointF here = placed(best[k]);
    if (k == 0)
      steps.moveTo(here);
    else
      steps.lineTo(here.x(), steps.currentPosition().y());
    steps.lineTo(here);
  }
  painter.setBrush(Qt::NoBrush);
  painter.setPen(QPen(mixed(c.raised, c.accent, 0.5), 1.2, Qt::DotLine));
  painter.drawPath(steps);

  for (const int i : fromBack(points_)) {
    const QualityPoint& p = points_[i];
    const double v = value(p, measure_), e = error(p, measure_);
    const QPointF here = placed(i);
    const QColor color = colorOf(p);
    if (e > 0) {
      painter.setPen(QPen(color, 1.6));
      const double top = f.y(v + e), bottom = f.y(v - e);
      painter.drawLine(QPointF(here.x(), top), QPointF(here.x(), bottom));
      painter.drawLine(QPointF(here.x() - 3, top), QPointF(here.x() + 3, top));
      painter.drawLine(QPointF(here.x() - 3, bottom), QPointF(here.x() + 3, bottom));
    }
    const double r = i == under_ ? 7 : p.kind == Kind::baseline ? 4 : 5.5;
    painter.setPen(QPen(p.kind == Kind::baseline ? color : c.raised, 1.4));
    painter.setBrush(p.kind == Kind::baseline ? c.raised : color);
    if (p.kind == Kind::original)
      painter.drawRect(QRectF(here.x() - r, here.y() - r, 2 * r, 2 * r));
    else
      painter.drawEllipse(here, r, r);
    if (p.current) {
      painter.setBrush(Qt::NoBrush);
      painter.setPen(QPen(c.accent, 1.6));
      painter.drawEllipse(here, r + 3.5, r + 3.5);
    }
  }
  paintLabels(painter, f);
  paintLegend(painter, f);
  if (hasFocus()) {
    painter.setPen(QPen(c.accent, 1));
    painter.setBrush(Qt::NoBrush);
    painter.drawRoundedRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4);
  }
}

/// Names beside the points where there is room, variants first.
void QualityChart::paintLabels(QPainter& painter, const Frame& f) const {
  const QFontMetrics metrics(painter.font());
  QList<QRectF> taken;
  for (const QualityPoint& p : points_) {
    const QPointF here(f.x(double(p.bytes)), f.y(value(p, measure_)));
    taken.push_back(QRectF(here.x() - 7, here.y() - 7, 14, 14));
  }
  QList<int> order = fromBack(points_);
  std::reverse(order.begin(), order.end());
  for (const int i : order) {
    const QualityPoint& p = points_[i];
    const QString text = metrics.elidedText(
        p.kind == Kind::baseline ? p.title.section(' ', 0, 0) : p.title, Qt::ElideRight, 170);
    const double w = metrics.horizontalAdvance(text) + 2, h = metrics.height();
    const QPointF here = taken[i].center();
    const bool covered = std::any_of(points_.begin(), points_.end(), [&](const QualityPoint& q) {
      return p.kind == Kind::baseline && q.kind == Kind::variant && q.bytes == p.bytes &&
             q.kl == p.kl;
    });
    if (covered) // the same as a variant, whose name stands there
      continue;
    for (const QPointF& corner :
         {QPointF(here.x() + 9, here.y() - h / 2), QPointF(here.x() - 9 - w, here.y() - h / 2),
          QPointF(here.x() - w / 2, here.y() - 9 - h), QPointF(here.x() - w / 2, here.y() + 9),
          QPointF(here.x() + 6, here.y() - 6 - h), QPointF(here.x() + 6, here.y() + 6)}) {
      const QRectF box(corner, QSizeF(w, h));
      if (box.left() < f.area.left() || box.right() > width() - 2 || box.top() < 0 ||
          box.bottom() > f.area.bottom() ||
          std::any_of(taken.begin(), taken.end(),
                      [&](const QRectF& other) { return other.intersects(box); }))
        continue;
      painter.fillRect(box, theme().raised); // no line through a name
      painter.setPen(p.kind == Kind::baseline ? theme().muted : theme().text);
      painter.drawText(box, Qt::AlignCenter, text);
      taken.push_back(box);
      break;
    }
  }
}

void QualityChart::paintLegend(QPainter& painter, const Frame& f) const {
  const ThemeColors& c = theme();
  const QFontMetrics metrics(painter.font());
  const double y = height() - metrics.height() / 2.0 - 4;
  double x = f.area.left();
  const auto has = [this](Kind kind) {
    return std::any_of(points_.begin(), points_.end(),
                       [kind](const QualityPoint& p) { return p.kind == kind; });
  };
  const QString size = f.gib ? tr("size (GiB)") : tr("size (MiB)");
  const double end = f.area.right() - metrics.horizontalAdvance(size) - 8;
  const auto word = [&](const QString& text) {
    if (x + metrics.horizontalAdvance(text) > end)
      return;
    painter.setPen(c.muted);
    painter.drawText(QRectF(x, y - metrics.height() / 2.0, 300, metrics.height()),
                     Qt::AlignLeft | Qt::AlignVCenter, text);
    x += metrics.horizontalAdvance(text) + 14;
  };
  const auto stroke = [&](const QPen& pen, const QString& text) {
    if (x + 20 + metrics.horizontalAdvance(text) > end)
      return;
    painter.setPen(pen);
    painter.drawLine(QPointF(x, y), QPointF(x + 16, y));
    x += 20;
    word(text);
  };
  if (has(Kind::baseline))
    stroke(QPen(mixed(c.raised, c.muted, 0.55), 1.6), tr("uniform rtn"));
  if (points_.size() > 2)
    stroke(QPen(mixed(c.raised, c.accent, 0.5), 1.2, Qt::DotLine), tr("best for its size"));
  if (f.floor)
    stroke(QPen(c.muted, 1.2, Qt::DashLine), tr("noise floor"));
  else if (measure_ == Measure::kl && noiseFloor_ > 0)
    word(tr("noise floor %1, far below").arg(formatNumber(noiseFloor_, 2)));
  painter.setPen(c.muted);
  painter.drawText(QRectF(f.area.right() - 120, y - metrics.height() / 2.0, 120, metrics.height()),
                   Qt::AlignRight | Qt::AlignVCenter, size);
}

// --- hand and keys ------------------------------------------------------------------------------

int QualityChart::at(const QPointF& position) const {
  int nearest = -1;
  double least = 14;
  for (const int i : fromBack(points_))
    if (const double distance = QLineF(place(i), position).length(); distance <= least) {
      least = distance;
      nearest = i;
    }
  return nearest;
}

QString QualityChart::tip(const QualityPoint& p) const {
  QString text = tr("%1\n%2, %3\nperplexity %4")
                     .arg(p.title, formatBytes(p.bytes), formatBits(p.bitsPerWeight),
                          formatError(p.perplexity, p.perplexityError));
  if (p.kind != Kind::original)
    text += tr("\nKL divergence %1\nanother first choice at %2 % of the tokens")
                .arg(formatError(p.kl, p.klError), formatError(p.misses, p.missesError));
  if (p.kl - 2 * p.klError <= noiseFloor_ && p.kind != Kind::original && noiseFloor_ > 0)
    text += tr("\nnot distinguishable from the original");
  if (p.variant >= 0)
    text += tr("\nClick to load its recipe");
  return text;
}

void QualityChart::show(int point, const QPoint& where) {
  if (point != under_) {
    under_ = point;
    update();
  }
  setCursor(point >= 0 && points_[point].variant >= 0 ? Qt::PointingHandCursor : Qt::ArrowCursor);
  if (point >= 0)
    QToolTip::showText(where, tip(points_[point]), this);
  else
    QToolTip::hideText();
}

void QualityChart::mouseMoveEvent(QMouseEvent* event) {
  show(at(event->position()), event->globalPosition().toPoint());
}

void QualityChart::mouseReleaseEvent(QMouseEvent* event) {
  const int point = at(event->position());
  if (event->button() == Qt::LeftButton && point >= 0 && points_[point].variant >= 0)
    Q_EMIT variantClicked(points_[point].variant);
}

void QualityChart::leaveEvent(QEvent*) {
  under_ = -1;
  update();
}

void QualityChart::keyPressEvent(QKeyEvent* event) {
  const bool on = event->key() == Qt::Key_Right, back = event->key() == Qt::Key_Left;
  if (points_.isEmpty()) {
    QWidget::keyPressEvent(event);
  } else if (on || back) {
    QList<int> order(points_.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [this](int a, int b) { return points_[a].bytes < points_[b].bytes; });
    const qsizetype here = order.indexOf(under_);
    const qsizetype next = here < 0 ? 0 : here + (on ? 1 : -1);
    const int point = order[std::clamp<qsizetype>(next, 0, order.size() - 1)];
    show(point, mapToGlobal(place(point).toPoint()));
  } else if ((event->key() == Qt::Key_Return || event->key() == Qt::Key_Enter) && under_ >= 0 &&
             points_[under_].variant >= 0) {
    Q_EMIT variantClicked(points_[under_].variant);
  } else {
    QWidget::keyPressEvent(event);
  }
}

QString QualityChart::csv() const {
  QString out = QStringLiteral("model,kind,bytes,bits_per_weight,perplexity,perplexity_stderr,"
                               "kld_mean,kld_stderr,top1_disagreement,front\n");
  const QList<int> best = front(points_, measure_);
  for (int i = 0; i < points_.size(); ++i) {
    const QualityPoint& p = points_[i];
    const char* kind = p.kind == Kind::original   ? "original"
                       : p.kind == Kind::baseline ? "baseline"
                       : p.kind == Kind::variant  ? "variant"
                                                  : "other";
    out += QStringLiteral("%1,%2,%3,%4,%5,%6,%7,%8,%9,")
               .arg(csvField(p.title), QLatin1String(kind))
               .arg(p.bytes)
               .arg(p.bitsPerWeight, 0, 'g', 8)
               .arg(p.perplexity, 0, 'g', 10)
               .arg(p.perplexityError, 0, 'g', 8)
               .arg(p.kl, 0, 'g', 10)
               .arg(p.klError, 0, 'g', 8)
               .arg(p.misses / 100, 0, 'g', 8) +
           (best.contains(i) ? QStringLiteral("1\n") : QStringLiteral("0\n"));
  }
  return out;
}

} // namespace bitlathe::gui
