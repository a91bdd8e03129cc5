// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/inspect/plot_axes.h"

#include "app/gui/format.h"

#include <algorithm>
#include <cmath>

namespace bitlathe::gui {

std::vector<Tick> niceTicks(double lo, double hi, int wanted) {
  std::vector<Tick> ticks;
  if (!(hi > lo) || !std::isfinite(hi - lo) || wanted < 1)
    return ticks;
  const double rough = (hi - lo) / wanted;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  const double part = rough / power;
  const double step = (part < 1.5 ? 1 : part < 3.5 ? 2 : part < 7.5 ? 5 : 10) * power;
  const int decimals = std::clamp(int(-std::floor(std::log10(step) + 1e-9)), 0, 12);
  const bool tiny = step < 1e-4, huge = std::max(std::abs(lo), std::abs(hi)) >= 1e6;
  for (double k = std::ceil(lo / step - 1e-9); k * step <= hi + step * 1e-9; ++k) {
    const double value = k * step;
    QString text = k == 0         ? QStringLiteral("0")
                   : tiny || huge ? formatNumber(value, 3)
                                  : QString::number(value, 'f', decimals);
    ticks.push_back({value, text.replace('-', QChar(0x2212))});
  }
  return ticks;
}

std::vector<Tick> decadeTicks(double top) {
  std::vector<Tick> ticks;
  for (double value = 1; value <= top * 1.0001; value *= 10)
    ticks.push_back({value, formatCount(value)});
  return ticks;
}

} // namespace bitlathe::gui
