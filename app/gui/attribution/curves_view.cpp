// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/attribution/curves_view.h"

#include "app/gui/attribution/bars_view.h"
#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/save_menu.h"

#include <algorithm>
#include <cmath>
#include <QHelpEvent>
#include <QPainter>
#include <QToolTip>

namespace bitlathe::gui {

namespace {
constexpr int left = 46, right = 14, top = 12, bottom = 36;
}

CurvesView::CurvesView(QWidget* parent) : QWidget(parent) {
  setMouseTracking(true);
  setAccessibleName(tr("Bits against divergence of every module"));
}

void CurvesView::setReport(std::shared_ptr<const AttributionReport> report) {
  report_ = std::move(report);
  rebuild();
}
void CurvesView::setFilter(const QString& text) {
  words_ = text.simplified().toLower().split(' ', Qt::SkipEmptyParts);
  rebuild();
}
void CurvesView::setSelection(const QStringList& modules) {
  selection_ = modules;
  update();
}

void CurvesView::rebuild() {
  points_.clear();
  roles_.clear();
  under_ = -1;
  double least = INFINITY, most = 0;
  least_bits_ = INFINITY;
  most_bits_ = 0;
  if (report_) {
    for (const ModuleCurve& curve : report_->curves)
      if (const QString role = QString::fromStdString(curve.role); !roles_.contains(role))
        roles_.append(role);
    std::sort(roles_.begin(), roles_.end());
    for (const ModuleCurve& curve : report_->curves) {
      const QString all =
          (QString::fromStdString(curve.name) + ' ' + QString::fromStdString(curve.role)).toLower();
      if (!std::all_of(words_.begin(), words_.end(),
                       [&](const QString& word) { return all.contains(word); }))
        continue;
      const auto first = points_.size();
      for (const CurvePoint& point : curve.points) {
        if (!point.measured && !point.predicted)
          continue;
        const bool predicted = !point.measured;
        Point out{&curve,
                  &point,
                  point.bits,
                  predicted ? point.predicted.kld : point.measured.kld,
                  predicted ? std::hypot(point.predicted.kld_stderr,
                                         report_->prediction.median_error * point.predicted.kld)
                            : point.measured.kld_stderr,
                  predicted,
                  int(roles_.indexOf(QString::fromStdString(curve.role)))};
        if (!(out.kld > 0) || !(out.bits > 0))
          continue;
        least = std::min(least, out.kld);
        most = std::max(most, out.kld);
        least_bits_ = std::min(least_bits_, out.bits);
        most_bits_ = std::max(most_bits_, out.bits);
        points_.append(out);
      }
      std::sort(points_.begin() + first, points_.end(),
                [](const Point& a, const Point& b) { return a.bits < b.bits; });
    }
  }
  if (points_.isEmpty()) {
    least_bits_ = 2;
    most_bits_ = 8;
  } else {
    low_ = std::floor(std::log10(least));
    high_ = std::max(low_ + 1, std::ceil(std::log10(most)));
    least_bits_ = std::floor(least_bits_);
    most_bits_ = std::max(least_bits_ + 1, std::ceil(most_bits_));
  }
  update();
}

QRectF CurvesView::plot() const {
  return QRectF(left, top, std::max(20, width() - left - right),
                std::max(20, height() - top - bottom));
}

double CurvesView::up(double kld) const {
  return kld > 0 ? std::clamp((std::log10(kld) - low_) / (high_ - low_), 0.0, 1.0) : 0;
}

QPointF CurvesView::at(const Point& point) const {
  const QRectF area = plot();
  return {area.left() + (point.bits - least_bits_) / (most_bits_ - least_bits_) * area.width(),
          area.bottom() - up(point.kld) * area.height()};
}

void CurvesView::paintEvent(QPaintEvent*) {
  const ThemeColors& c = theme();
  QPainter painter(this);
  painter.setFont(smallFont());
  const QRectF area = plot();
  if (points_.isEmpty()) {
    painter.setPen(c.muted);
    painter.drawText(rect().adjusted(16, 0, -16, 0), Qt::AlignCenter | Qt::TextWordWrap,
                     tr("Lines appear here once schemes are measured: what every module would cost "
                        "at another precision, without quantizing the whole model"));
    return;
  }
  const int every = std::max(1, int(high_ - low_) / 5);
  for (int power = int(low_); power <= int(high_); power += every) {
    const double y = area.bottom() - up(std::pow(10.0, power)) * area.height();
    painter.setPen(c.grid);
    painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y));
    painter.setPen(c.muted);
    painter.drawText(QRectF(0, y - 9, left - 6, 18), Qt::AlignRight | Qt::AlignVCenter,
                     QStringLiteral("1e%1").arg(power));
  }
  for (int bits = int(least_bits_); bits <= int(most_bits_); ++bits) {
    const double x = area.left() + (bits - least_bits_) / (most_bits_ - least_bits_) * area.width();
    painter.setPen(c.grid);
    painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()));
    painter.setPen(c.muted);
    painter.drawText(QRectF(x - 12, area.bottom() + 3, 24, 16), Qt::AlignCenter,
                     QString::number(bits));
  }
  painter.setPen(c.muted);
  painter.drawText(QRectF(area.left(), area.bottom() + 17, area.width(), 17), Qt::AlignCenter,
                   tr("bits per weight; up: KL"));
  painter.setRenderHint(QPainter::Antialiasing);
  const bool some = std::any_of(points_.begin(), points_.end(), [&](const Point& p) {
    return selection_.contains(QString::fromStdString(p.curve->name));
  });
  for (const bool front : {false, true}) // selected ones over the others
    for (qsizetype i = 0; i < points_.size(); ++i) {
      const Point& p = points_[i];
      const bool chosen = selection_.contains(QString::fromStdString(p.curve->name)) ||
                          (under_ >= 0 && points_[under_].curve == p.curve);
      if (chosen != front)
        continue;
      QColor colour = roleColour(p.role, int(roles_.size()));
      if (some && !chosen)
        colour = mixed(colour, c.raised, 0.7);
      const QPointF here = at(p);
      if (i + 1 < points_.size() && points_[i + 1].curve == p.curve) {
        const bool guess = p.predicted || points_[i + 1].predicted;
        painter.setPen(QPen(colour, chosen ? 2.2 : 1.1, guess ? Qt::DashLine : Qt::SolidLine));
        painter.drawLine(here, at(points_[i + 1]));
      }
      if (chosen && p.error > 0) {
        painter.setPen(QPen(c.text, 1));
        const double y0 = area.bottom() - up(p.kld - p.error) * area.height();
        const double y1 = area.bottom() - up(p.kld + p.error) * area.height();
        painter.drawLine(QPointF(here.x(), y0), QPointF(here.x(), y1));
      }
      painter.setPen(QPen(colour, 1.4));
      painter.setBrush(p.predicted ? QBrush(c.raised) : QBrush(colour));
      const double radius = chosen ? 4 : 2.6;
      painter.drawEllipse(here, radius, radius);
    }
  painter.setPen(c.border);
  painter.setBrush(Qt::NoBrush);
  painter.drawLine(area.bottomLeft(), area.bottomRight());
}

int CurvesView::nearest(const QPointF& position) const {
  int best = -1;
  double least = 14 * 14;
  for (int i = 0; i < points_.size(); ++i) {
    const QPointF off = at(points_[i]) - position;
    const double square = QPointF::dotProduct(off, off);
    if (square < least) {
      least = square;
      best = i;
    }
  }
  return best;
}

bool CurvesView::event(QEvent* event) {
  if (event->type() != QEvent::ToolTip)
    return QWidget::event(event);
  const auto* help = static_cast<QHelpEvent*>(event);
  if (const int i = nearest(help->pos()); i >= 0) {
    const Point& p = points_[i];
    QStringList lines{
        QString::fromStdString(p.curve->name),
        tr("%1, %2: %3")
            .arg(QString::fromStdString(p.point->scheme), QString::fromStdString(p.point->method),
                 formatBits(p.bits)),
        (p.predicted ? tr("predicted: KL %1") : tr("KL %1")).arg(formatError(p.kld, p.error)),
        tr("%1 of the weights' energy is lost").arg(formatPercent(p.point->weight_error, 3))};
    QToolTip::showText(help->globalPos(), lines.join('\n'), this);
  } else {
    QToolTip::hideText();
  }
  return true;
}

void CurvesView::mouseMoveEvent(QMouseEvent* event) {
  if (const int i = nearest(event->position()); i != under_) {
    under_ = i;
    update();
  }
}
void CurvesView::leaveEvent(QEvent*) {
  under_ = -1;
  update();
}
void CurvesView::mousePressEvent(QMouseEvent* event) {
  if (const int i = nearest(event->position()); i >= 0 && event->button() == Qt::LeftButton)
    Q_EMIT clicked({QString::fromStdString(points_[i].curve->name)});
}

QString CurvesView::csv() const {
  QString out = QStringLiteral("module,role,scheme,method,bits,bytes,weight_error,kl,kl_stderr,"
                               "nll_difference,predicted\n");
  for (const Point& p : points_)
    out += QStringList{csvField(QString::fromStdString(p.curve->name)),
                       csvField(QString::fromStdString(p.curve->role)),
                       csvField(QString::fromStdString(p.point->scheme)),
                       csvField(QString::fromStdString(p.point->method)),
                       QString::number(p.bits, 'g', 8),
                       QString::number(p.point->bytes),
                       QString::number(p.point->weight_error, 'g', 8),
                       QString::number(p.kld, 'g', 10),
                       QString::number(p.error, 'g', 6),
                       p.predicted ? QString()
                                   : QString::number(p.point->measured.nll_difference, 'g', 10),
                       p.predicted ? QStringLiteral("1") : QStringLiteral("0")}
               .join(',') +
           '\n';
  return out;
}

} // namespace bitlathe::gui
