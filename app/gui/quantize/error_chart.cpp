// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/quantize/error_chart.h"

#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/save_menu.h"

#include <algorithm>
#include <cmath>
#include <QHelpEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QToolTip>

namespace bitlathe::gui {
namespace {

constexpr double left = 56, right = 8, top = 10, bottom = 24;
using State = ResultsModel::RowState;

} // namespace

ErrorChart::ErrorChart(QWidget* parent) : QWidget(parent) {
  setMouseTracking(true);
  setFocusPolicy(Qt::StrongFocus);
  setAccessibleName(tr("Error by module"));
}

void ErrorChart::setRows(const QList<ResultsModel::Row>& rows) {
  rows_.clear();
  for (const ResultsModel::Row& row : rows)
    if (row.state != State::kept)
      rows_.push_back(row);
  under_ = -1;
  update();
}

void ErrorChart::setMetric(Metric metric) {
  metric_ = metric;
  update();
}

void ErrorChart::setSelection(const QStringList& modules) {
  selection_ = modules;
  update();
}

double ErrorChart::value(const ResultsModel::Row& row) const {
  switch (metric_) {
  case Metric::sqnr:
    return row.sqnr;
  case Metric::mse:
    return row.mse;
  case Metric::cosine:
    return 1 - row.cosine;
  case Metric::worst:
    return row.worst;
  case Metric::output:
    return std::max(row.output, 0.0);
  }
  return 0;
}

double ErrorChart::Axis::at(double value) const {
  if (!logarithmic)
    return std::clamp((value - low) / (high - low), 0.0, 1.0);
  if (!(value > 0))
    return 0;
  return std::clamp((std::log10(value) - low) / (high - low), 0.0, 1.0);
}

QList<QPair<double, QString>> ErrorChart::Axis::ticks() const {
  QList<QPair<double, QString>> out;
  if (logarithmic) {
    const int every = std::max(1, int(high - low) / 5);
    for (int power = int(low); power <= int(high); power += every)
      out.push_back({std::pow(10.0, power), QStringLiteral("1e%1").arg(power)});
    return out;
  }
  const double rough = (high - low) / 4, base = std::pow(10.0, std::floor(std::log10(rough)));
  const double step = rough / base < 2 ? 2 * base : rough / base < 5 ? 5 * base : 10 * base;
  for (double v = low; v <= high + step * 1e-6; v += step)
    out.push_back({v, QString::number(v, 'g', 4)});
  return out;
}

ErrorChart::Axis ErrorChart::axis() const {
  double least = INFINITY, most = 0;
  for (const auto& row : rows_)
    if (row.state == State::stored && (metric_ == Metric::sqnr || value(row) > 0)) {
      least = std::min(least, value(row));
      most = std::max(most, std::min(value(row), metric_ == Metric::sqnr ? 120.0 : INFINITY));
    }
  Axis axis;
  axis.logarithmic = metric_ != Metric::sqnr;
  if (!axis.logarithmic) {
    axis.high = std::max(10.0, std::ceil(most / 10) * 10);
    return axis;
  }
  if (!std::isfinite(least)) {
    axis.low = -8, axis.high = 0;
    return axis;
  }
  axis.low = std::floor(std::log10(least)) - (std::log10(least) == std::floor(std::log10(least)));
  axis.high = std::max(axis.low + 1, std::ceil(std::log10(most)));
  return axis;
}

QRectF ErrorChart::plot() const {
  return QRectF(left, top, std::max(10.0, width() - left - right),
                std::max(10.0, height() - top - bottom));
}

double ErrorChart::slot() const {
  return rows_.isEmpty() ? 0 : std::min(64.0, plot().width() / double(rows_.size()));
}

int ErrorChart::barAt(const QPointF& position) const {
  if (rows_.isEmpty() || position.x() < plot().left() || position.y() > plot().bottom() + bottom)
    return -1;
  const int at = int((position.x() - plot().left()) / slot());
  return at < rows_.size() ? at : -1;
}

void ErrorChart::paintEvent(QPaintEvent*) {
  const ThemeColors& c = theme();
  QPainter painter(this);
  painter.setFont(smallFont());
  const QFontMetrics metrics(painter.font());
  const QRectF area = plot();
  const Axis scale = axis();
  for (const auto& [v, text] : scale.ticks()) {
    const double y = area.bottom() - scale.at(v) * area.height();
    painter.setPen(c.grid);
    painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y));
    painter.setPen(c.muted);
    painter.drawText(QRectF(0, y - 9, left - 8, 18), Qt::AlignRight | Qt::AlignVCenter, text);
  }
  if (rows_.isEmpty()) {
    painter.setPen(c.muted);
    painter.drawText(area, Qt::AlignCenter | Qt::TextWordWrap,
                     tr("Bars appear here while modules are quantized"));
    return;
  }
  painter.setRenderHint(QPainter::Antialiasing);
  const double step = slot(), gap = step > 6 ? std::min(4.0, step * 0.22) : step > 2 ? 1 : 0;
  int block = -2;
  double labelEnd = -1;
  for (int i = 0; i < rows_.size(); ++i) {
    const auto& row = rows_[i];
    const double x = area.left() + i * step;
    if (row.layer != block) {
      block = row.layer;
      if (i > 0) {
        painter.setPen(c.border);
        painter.drawLine(QPointF(x - gap / 2, area.top()), QPointF(x - gap / 2, area.bottom() + 5));
      }
      const QString label = block >= 0 ? tr("block %1").arg(block) : row.name.section('.', -1);
      const QString brief = block >= 0 ? QString::number(block) : label;
      int same = i;
      while (same < rows_.size() && rows_[same].layer == block)
        ++same;
      const double room = (same - i) * step;
      const QString shown = metrics.horizontalAdvance(label) < room - 4 ? label : brief;
      if (x > labelEnd && metrics.horizontalAdvance(shown) < std::max(room, 26.0)) {
        painter.setPen(c.muted);
        painter.drawText(QRectF(x, area.bottom() + 4, 200, 18), Qt::AlignLeft | Qt::AlignVCenter,
                         shown);
        labelEnd = x + metrics.horizontalAdvance(shown) + 6;
      }
    }
    QRectF bar(x, area.bottom(), std::max(1.0, step - gap), 0);
    if (row.state == State::waiting) {
      bar.setTop(area.bottom() - 3);
      painter.fillRect(bar, c.grid);
    } else {
      bar.setTop(area.bottom() - std::max(1.5, scale.at(value(row)) * area.height()));
      painter.fillRect(bar, precisionColor(row.bits));
    }
    const bool selected = selection_.contains(row.name);
    if (selected || i == under_) {
      painter.setBrush(Qt::NoBrush);
      painter.setPen(QPen(selected ? c.accent : c.text, selected ? 2 : 1));
      painter.drawRect(bar.adjusted(-1, -1, 1, 0));
    }
  }
  painter.setPen(c.border);
  painter.drawLine(area.bottomLeft(), area.bottomRight());
  if (hasFocus()) {
    painter.setPen(QPen(c.accent, 1));
    painter.setBrush(Qt::NoBrush);
    painter.drawRoundedRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4);
  }
}

QString ErrorChart::tip(const ResultsModel::Row& row) const {
  if (row.state == State::waiting)
    return tr("%1\n%2, waiting").arg(row.name, row.scheme);
  return tr("%1\n%2, %3\nSQNR %4 dB, MSE %5\ncosine %6, worst %7")
      .arg(row.name, row.scheme, row.method, QString::number(row.sqnr, 'f', 2),
           formatNumber(row.mse, 3), QString::number(row.cosine, 'f', 6),
           formatNumber(row.worst, 3));
}

bool ErrorChart::event(QEvent* event) {
  if (event->type() == QEvent::ToolTip) {
    const auto* help = static_cast<QHelpEvent*>(event);
    if (const int at = barAt(help->pos()); at >= 0)
      QToolTip::showText(help->globalPos(), tip(rows_[at]), this);
    else
      QToolTip::hideText();
    return true;
  }
  return QWidget::event(event);
}

void ErrorChart::mouseMoveEvent(QMouseEvent* event) {
  if (const int at = barAt(event->position()); at != under_) {
    under_ = at;
    update();
  }
}

void ErrorChart::mousePressEvent(QMouseEvent* event) {
  if (const int at = barAt(event->position()); at >= 0 && event->button() == Qt::LeftButton)
    Q_EMIT clicked(rows_[at].name);
}

void ErrorChart::leaveEvent(QEvent*) {
  under_ = -1;
  update();
}

void ErrorChart::step(int by) {
  if (rows_.isEmpty())
    return;
  int at = -1;
  for (int i = 0; i < rows_.size() && at < 0; ++i)
    if (!selection_.isEmpty() && rows_[i].name == selection_.first())
      at = i;
  Q_EMIT clicked(rows_[std::clamp<int>(at + by, 0, int(rows_.size()) - 1)].name);
}

void ErrorChart::keyPressEvent(QKeyEvent* event) {
  if (event->key() == Qt::Key_Left)
    step(-1);
  else if (event->key() == Qt::Key_Right)
    step(1);
  else
    QWidget::keyPressEvent(event);
}

QString ErrorChart::csv() const {
  QString out = QStringLiteral("module,scheme,method,sqnr_db,mse,cosine,worst\n");
  for (const auto& row : rows_)
    if (row.state == State::stored)
      out += QStringLiteral("%1,%2,%3,%4,%5,%6,%7\n")
                 .arg(csvField(row.name), csvField(row.scheme), csvField(row.method),
                      QString::number(row.sqnr, 'g', 10), QString::number(row.mse, 'g', 10),
                      QString::number(row.cosine, 'g', 10), QString::number(row.worst, 'g', 10));
  return out;
}

} // namespace bitlathe::gui
