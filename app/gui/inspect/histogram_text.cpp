// SPDX-License-Identifier: GPL-3.0-or-later
// What a histogram says in words under the mouse, and in numbers as CSV.
#include "app/gui/format.h"
#include "app/gui/inspect/histogram_view.h"

#include <algorithm>
#include <cmath>

namespace bitlathe::gui {

namespace {

int binAt(const Histogram& histogram, double value) {
  if (histogram.counts.empty() || value < histogram.edges.front() || value > histogram.edges.back())
    return -1;
  const auto it = std::upper_bound(histogram.edges.begin(), histogram.edges.end(), value);
  return std::clamp(int(it - histogram.edges.begin()) - 1, 0, int(histogram.counts.size()) - 1);
}

} // namespace

QString HistogramView::readout(double value) const {
  QString text = formatNumber(value, 4);
  const auto part = [&](const Histogram& histogram, const QString& name) {
    const int bin = binAt(histogram, value);
    if (bin < 0)
      return;
    const auto count = histogram.counts[std::size_t(bin)];
    text += QStringLiteral("  ·  ") + name + formatGrouped(std::int64_t(count));
    if (histogram.total > 0)
      text +=
          QStringLiteral(" (%1)").arg(formatPercent(double(count) / double(histogram.total), 2));
  };
  if (original_)
    part(*original_, stored_ || second_ ? names_[0] + ' ' : QString());
  if (stored_)
    part(*stored_, names_[1] + ' ');
  if (second_)
    part(*second_, names_[2] + ' ');
  if (const auto nearest = nearestCode(value))
    text += tr("  ·  nearest code %1, error %2")
                .arg(formatNumber(double(nearest->code), 4),
                     formatNumber(std::abs(value - double(nearest->code)), 2));
  return text;
}

QString HistogramView::csv() const {
  QString out = QStringLiteral("from,to,%1,%2,%3\n").arg(names_[0], names_[1], names_[2]);
  const auto& base = original_ ? original_ : stored_;
  if (!base)
    return out;
  const auto countAt = [](const std::optional<Histogram>& histogram, double value) {
    const int bin = histogram ? binAt(*histogram, value) : -1;
    return bin < 0 ? QString() : QString::number(histogram->counts[std::size_t(bin)]);
  };
  for (std::size_t i = 0; i < base->counts.size(); ++i) {
    const double middle = (base->edges[i] + base->edges[i + 1]) / 2;
    out += QStringLiteral("%1,%2,%3,%4,%5\n")
               .arg(base->edges[i], 0, 'g', 9)
               .arg(base->edges[i + 1], 0, 'g', 9)
               .arg(countAt(original_, middle), countAt(stored_, middle), countAt(second_, middle));
  }
  return out;
}

} // namespace bitlathe::gui
