// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/attribution/bars_view.h"

#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/save_menu.h"
#include "core/schemes/scheme.h"

#include <algorithm>
#include <cmath>
#include <QHelpEvent>
#include <QKeyEvent>
#include <QPainter>
#include <QToolTip>

namespace bitlathe::gui {

namespace {

constexpr int row_height = 20, top = 22, bottom = 6, right = 78;

/// "layers.3.mlp.up_proj" of "model.layers.3.mlp.up_proj": what sets modules apart.
QString shortName(const AttributionRow& row) {
  QString name = QString::fromStdString(row.name);
  if (row.kind == "kv")
    return BarsView::tr("keys and values");
  for (const char* prefix : {"model.layers.", "transformer.h.", "gpt_neox.layers.",
                             "model.language_model.layers.", "language_model.model.layers."})
    if (name.startsWith(QLatin1String(prefix)))
      return name.mid(qsizetype(qstrlen(prefix)));
  return name.startsWith(QStringLiteral("model.")) ? name.mid(6) : name;
}

double bitsOf(const QString& scheme) {
  const auto parsed = parse_scheme(scheme.section('+', 0, 0).toStdString());
  return parsed ? parsed->bits : 16;
}

} // namespace

QColor roleColour(int index, int count) {
  // Alternating lightness keeps neighbours apart where hues look alike.
  const double hue = count > 0 ? double(index) / double(count) : 0;
  const bool dark = Theme::instance().dark();
  return QColor::fromHslF(float(std::fmod(0.55 + hue, 1.0)), 0.45f,
                          (dark ? 0.58f : 0.46f) + (index % 2 ? 0.09f : -0.03f));
}

QString unitOf(BarsView::Value value) {
  switch (value) {
  case BarsView::Value::fall:
    return BarsView::tr("KL divergence that goes away when it is put back");
  case BarsView::Value::per_byte:
    return BarsView::tr("KL divergence per MiB that the module takes now");
  default:
    return BarsView::tr("KL divergence of the original with only this from the candidate");
  }
}

BarsView::BarsView(QWidget* parent) : QWidget(parent) {
  setMouseTracking(true);
  setFocusPolicy(Qt::StrongFocus);
  setAccessibleName(tr("What every module costs"));
  setSizePolicy(QSizePolicy::Preferred, QSizePolicy::Fixed);
}

void BarsView::setReport(std::shared_ptr<const AttributionReport> report) {
  report_ = std::move(report);
  rebuild();
}
void BarsView::setLevel(Level level) {
  level_ = level;
  rebuild();
}
void BarsView::setValue(Value value) {
  value_ = value;
  rebuild();
}
void BarsView::setColour(Colour colour) {
  colour_ = colour;
  update();
}
void BarsView::setLogarithmic(bool logarithmic) {
  logarithmic_ = logarithmic;
  rebuild();
}
void BarsView::setFilter(const QString& text) {
  words_ = text.simplified().toLower().split(' ', Qt::SkipEmptyParts);
  rebuild();
}
void BarsView::setSelection(const QStringList& modules) {
  selection_ = modules;
  update();
}

void BarsView::rebuild() {
  bars_.clear();
  roles_.clear();
  under_ = -1;
  const std::string kind = level_ == Level::blocks  ? "block"
                           : level_ == Level::roles ? "role"
                                                    : "module";
  if (report_)
    for (const AttributionRow& row : report_->rows) {
      if (row.kind == "module" && !roles_.contains(QString::fromStdString(row.role)))
        roles_.append(QString::fromStdString(row.role));
      if (row.kind != kind && !(level_ == Level::modules && row.kind == "kv"))
        continue;
      Bar bar;
      bar.row = &row;
      bar.name = QString::fromStdString(row.name);
      bar.shown = shortName(row);
      bar.role = QString::fromStdString(row.role);
      bar.scheme = QString::fromStdString(row.scheme);
      bar.kept = row.kept;
      for (const std::string& module : row.modules)
        if (row.kind != "kv")
          bar.modules.append(QString::fromStdString(module));
      const QString all = (bar.name + ' ' + bar.role + ' ' + bar.scheme).toLower();
      if (!std::all_of(words_.begin(), words_.end(),
                       [&](const QString& word) { return all.contains(word); }))
        continue;
      if (value_ == Value::fall) {
        bar.known = bool(row.without);
        bar.value = row.fall;
        bar.error = row.fall_stderr;
      } else if (row.alone) {
        bar.known = true;
        bar.value = row.alone.kld;
        bar.error = row.alone.kld_stderr;
      } else if (row.predicted) {
        bar.known = bar.predicted = true;
        bar.value = row.predicted.kld;
        // The scatter of the estimate, and how far predictions were from what was measured.
        bar.error = std::hypot(row.predicted.kld_stderr,
                               report_->prediction.median_error * row.predicted.kld);
      }
      if (value_ == Value::per_byte) {
        const double size = double(row.bytes) / double(1 << 20);
        bar.known = bar.known && size > 0;
        bar.value = size > 0 ? bar.value / size : 0;
        bar.error = size > 0 ? bar.error / size : 0;
      }
      bars_.append(bar);
    }
  std::sort(roles_.begin(), roles_.end());
  std::stable_sort(bars_.begin(), bars_.end(), [](const Bar& a, const Bar& b) {
    return a.known != b.known ? a.known : a.value > b.value;
  });
  double most = 0, least = INFINITY;
  int widest = 0;
  const QFontMetrics metrics(smallFont());
  for (const Bar& bar : bars_) {
    widest = std::max(widest, metrics.horizontalAdvance(bar.shown));
    if (!bar.known)
      continue;
    most = std::max(most, bar.value + bar.error);
    if (bar.value > 0)
      least = std::min(least, bar.value);
  }
  names_ = std::min(widest + 14, 230);
  if (logarithmic_ && std::isfinite(least) && most > 0) {
    low_ = std::floor(std::log10(least));
    high_ = std::max(low_ + 1, std::ceil(std::log10(most)));
  } else {
    low_ = 0;
    high_ = most > 0 ? most * 1.02 : 1;
  }
  setFixedHeight(std::max(minimumSizeHint().height(), sizeHint().height()));
  updateGeometry();
  update();
}

QSize BarsView::sizeHint() const { return {480, top + row_height * int(bars_.size()) + bottom}; }

QRectF BarsView::plot() const {
  const int left = std::min(names_, width() / 2);
  return QRectF(left, top, std::max(20, width() - left - right), row_height * int(bars_.size()));
}

QRect BarsView::place(int index) const {
  return QRect(0, top + row_height * index, width(), row_height);
}

double BarsView::across(double value) const {
  if (!logarithmic_)
    return std::clamp(value / high_, 0.0, 1.0);
  return value > 0 ? std::clamp((std::log10(value) - low_) / (high_ - low_), 0.0, 1.0) : 0;
}

QColor BarsView::colour(const Bar& bar) const {
  if (bar.row->kind == "kv")
    return theme().second;
  if (colour_ == Colour::precision)
    return precisionColor(bitsOf(bar.scheme));
  if (level_ == Level::blocks)
    return theme().quantized;
  return roleColour(int(roles_.indexOf(bar.role)), int(roles_.size()));
}

bool BarsView::selected(const Bar& bar) const {
  return !bar.modules.isEmpty() &&
         std::all_of(bar.modules.begin(), bar.modules.end(),
                     [&](const QString& module) { return selection_.contains(module); });
}

void BarsView::paintEvent(QPaintEvent* event) {
  const ThemeColors& c = theme();
  QPainter painter(this);
  painter.setFont(smallFont());
  const QFontMetrics metrics(painter.font());
  const QRectF area = plot();
  if (bars_.isEmpty()) {
    painter.setPen(c.muted);
    painter.drawText(rect().adjusted(12, 0, -12, 0), Qt::AlignCenter | Qt::TextWordWrap,
                     report_ && !report_->rows.empty()
                         ? tr("No row matches")
                         : tr("Bars appear here as they are measured, the cheap ones first"));
    return;
  }
  // The scale, above the bars.
  QList<double> ticks;
  if (logarithmic_) {
    const int every = std::max(1, int(high_ - low_) / 5);
    for (int power = int(low_); power <= int(high_); power += every)
      ticks.append(std::pow(10.0, power));
  } else {
    const double rough = high_ / 4, base = std::pow(10.0, std::floor(std::log10(rough)));
    const double step = rough / base < 2 ? 2 * base : rough / base < 5 ? 5 * base : 10 * base;
    for (double v = 0; v <= high_; v += step)
      ticks.append(v);
  }
  double end = -1;
  for (const double tick : ticks) {
    const double x = area.left() + across(tick) * area.width();
    painter.setPen(c.grid);
    painter.drawLine(QPointF(x, top - 3), QPointF(x, area.bottom()));
    const QString text = logarithmic_ ? QStringLiteral("1e%1").arg(std::lround(std::log10(tick)))
                                      : formatNumber(tick, 2);
    const double wide = metrics.horizontalAdvance(text);
    if (x - wide / 2 < end)
      continue;
    painter.setPen(c.muted);
    painter.drawText(QRectF(x - wide / 2 - 2, 0, wide + 4, top - 5), Qt::AlignCenter, text);
    end = x + wide / 2 + 6;
  }
  painter.setRenderHint(QPainter::Antialiasing);
  for (int i = 0; i < bars_.size(); ++i) {
    const Bar& bar = bars_[i];
    const QRect line = place(i);
    if (!line.intersects(event->rect()))
      continue;
    const bool chosen = selected(bar);
    if (chosen || i == under_)
      painter.fillRect(line, chosen ? c.selection : c.hover);
    painter.setPen(bar.known ? c.text : c.muted);
    painter.drawText(QRectF(6, line.top(), area.left() - 12, line.height()),
                     Qt::AlignLeft | Qt::AlignVCenter,
                     metrics.elidedText(bar.shown, Qt::ElideMiddle, int(area.left()) - 12));
    if (!bar.known) {
      painter.setPen(c.muted);
      painter.drawText(QRectF(area.left() + 4, line.top(), area.width(), line.height()),
                       Qt::AlignLeft | Qt::AlignVCenter,
                       bar.row->problem.empty() ? QStringLiteral("\u2026")
                                                : tr("could not be measured"));
      continue;
    }
    const QColor fill = colour(bar);
    const double length = std::max(1.5, across(bar.value) * area.width());
    const QRectF box(area.left(), line.top() + 4, length, row_height - 8);
    painter.setPen(bar.predicted ? QPen(fill, 1) : Qt::NoPen);
    painter.setBrush(bar.predicted ? QBrush(fill, Qt::BDiagPattern) : QBrush(fill));
    painter.drawRect(box);
    if (bar.error > 0) {
      const double from = area.left() + across(bar.value - bar.error) * area.width();
      const double to = area.left() + across(bar.value + bar.error) * area.width();
      const double y = box.center().y();
      painter.setPen(QPen(c.text, 1));
      painter.drawLine(QPointF(from, y), QPointF(to, y));
      painter.drawLine(QPointF(from, y - 3), QPointF(from, y + 3));
      painter.drawLine(QPointF(to, y - 3), QPointF(to, y + 3));
    }
    painter.setPen(bar.predicted || bar.kept ? c.muted : c.text);
    painter.drawText(QRectF(area.right() + 6, line.top(), right - 10, line.height()),
                     Qt::AlignRight | Qt::AlignVCenter,
                     (bar.predicted ? QStringLiteral("~") : QString()) +
                         formatNumber(bar.value, 3));
  }
  painter.setPen(c.border);
  painter.drawLine(area.topLeft(), area.bottomLeft());
  if (hasFocus()) {
    painter.setPen(QPen(c.accent, 1));
    painter.setBrush(Qt::NoBrush);
    painter.drawRoundedRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4);
  }
}

QString BarsView::tip(const Bar& bar) const {
  const AttributionRow& row = *bar.row;
  QStringList lines{bar.name};
  if (row.modules.size() > 1 && row.kind == "module")
    lines.append(tr("%1 modules that scales were moved between; they only work together")
                     .arg(row.modules.size()));
  if (!bar.scheme.isEmpty())
    lines.append(row.bytes > 0 ? tr("%1, %2").arg(bar.scheme, formatBytes(row.bytes)) : bar.scheme);
  if (row.alone)
    lines.append(tr("alone in the original: KL %1, %2 nats per token lost")
                     .arg(formatError(row.alone.kld, row.alone.kld_stderr),
                          formatError(row.alone.nll_difference, row.alone.nll_stderr)));
  if (row.predicted)
    lines.append(
        row.alone
            ? tr("predicted: KL %1").arg(formatError(row.predicted.kld, bar.error))
            : tr("predicted, not measured: KL %1").arg(formatError(row.predicted.kld, bar.error)));
  if (row.without)
    lines.append(tr("put back into the candidate: KL falls by %1")
                     .arg(formatError(row.fall, row.fall_stderr)));
  if (bar.kept)
    lines.append(tr("taken over from an earlier run; nothing of it has changed"));
  if (!row.problem.empty())
    lines.append(QString::fromStdString(row.problem));
  if (row.kind != "kv")
    lines.append(tr("Click to select, double-click to raise the precision"));
  return lines.join('\n');
}

int BarsView::barAt(const QPointF& position) const {
  const int at = int(std::floor((position.y() - top) / row_height));
  return at >= 0 && at < bars_.size() ? at : -1;
}

int BarsView::current() const {
  for (int i = 0; i < bars_.size(); ++i)
    if (selected(bars_[i]))
      return i;
  return -1;
}

bool BarsView::event(QEvent* event) {
  if (event->type() == QEvent::ToolTip) {
    const auto* help = static_cast<QHelpEvent*>(event);
    if (const int at = barAt(help->pos()); at >= 0)
      QToolTip::showText(help->globalPos(), tip(bars_[at]), this);
    else
      QToolTip::showText(help->globalPos(), unitOf(value_), this);
    return true;
  }
  return QWidget::event(event);
}

void BarsView::mouseMoveEvent(QMouseEvent* event) {
  if (const int at = barAt(event->position()); at != under_) {
    under_ = at;
    update();
  }
}

void BarsView::leaveEvent(QEvent*) {
  under_ = -1;
  update();
}

void BarsView::mousePressEvent(QMouseEvent* event) {
  const int at = barAt(event->position());
  if (at < 0 || event->button() != Qt::LeftButton || bars_[at].modules.isEmpty())
    return;
  QStringList modules = bars_[at].modules;
  if (event->modifiers() & Qt::ControlModifier) {
    QStringList all = selection_;
    const bool off = selected(bars_[at]);
    for (const QString& module : modules) {
      all.removeAll(module);
      if (!off)
        all.append(module);
    }
    modules = all;
  }
  Q_EMIT clicked(modules);
}

void BarsView::mouseDoubleClickEvent(QMouseEvent* event) {
  if (const int at = barAt(event->position());
      at >= 0 && event->button() == Qt::LeftButton && !bars_[at].modules.isEmpty())
    Q_EMIT raiseWanted(bars_[at].modules);
}

void BarsView::contextMenuEvent(QContextMenuEvent* event) {
  const bool keyboard = event->reason() == QContextMenuEvent::Keyboard;
  const int at = keyboard ? current() : barAt(QPointF(event->pos()));
  const QPoint where = keyboard && at >= 0 ? mapToGlobal(place(at).center()) : event->globalPos();
  // A bar within the selection stands for all of it.
  Q_EMIT menuWanted(at < 0                ? QStringList()
                    : selected(bars_[at]) ? selection_
                                          : bars_[at].modules,
                    where);
}

void BarsView::keyPressEvent(QKeyEvent* event) {
  const int at = current();
  int to = at;
  switch (event->key()) {
  case Qt::Key_Down:
    to = at + 1;
    break;
  case Qt::Key_Up:
    to = at < 0 ? 0 : at - 1;
    break;
  case Qt::Key_Home:
    to = 0;
    break;
  case Qt::Key_End:
    to = int(bars_.size()) - 1;
    break;
  case Qt::Key_Return:
  case Qt::Key_Enter:
    if (at >= 0)
      Q_EMIT raiseWanted(bars_[at].modules);
    return;
  default:
    QWidget::keyPressEvent(event);
    return;
  }
  if (bars_.isEmpty())
    return;
  to = std::clamp(to, 0, int(bars_.size()) - 1);
  const int step = to < at || event->key() == Qt::Key_End ? -1 : 1;
  while (to >= 0 && to < bars_.size() && bars_[to].modules.isEmpty()) // keys and values
    to += step;
  if (to < 0 || to >= bars_.size())
    return;
  Q_EMIT clicked(bars_[to].modules);
  Q_EMIT shouldShow(place(to));
}

void BarsView::focusInEvent(QFocusEvent*) { update(); }
void BarsView::focusOutEvent(QFocusEvent*) { update(); }

QString BarsView::csv() const {
  QString out =
      QStringLiteral("kind,name,role,scheme,bytes,kl_alone,kl_alone_stderr,nll_difference,"
                     "kl_falls_by,kl_falls_by_stderr,kl_predicted,kl_predicted_stderr\n");
  const auto number = [](bool known, double value) {
    return known ? QString::number(value, 'g', 10) : QString();
  };
  for (const Bar& bar : bars_) {
    const AttributionRow& row = *bar.row;
    out += QStringList{csvField(QString::fromStdString(row.kind)),
                       csvField(bar.name),
                       csvField(bar.role),
                       csvField(bar.scheme),
                       QString::number(row.bytes),
                       number(bool(row.alone), row.alone.kld),
                       number(bool(row.alone), row.alone.kld_stderr),
                       number(bool(row.alone), row.alone.nll_difference),
                       number(bool(row.without), row.fall),
                       number(bool(row.without), row.fall_stderr),
                       number(bool(row.predicted), row.predicted.kld),
                       number(bool(row.predicted), row.predicted.kld_stderr)}
               .join(',') +
           '\n';
  }
  return out;
}

} // namespace bitlathe::gui
