// SPDX-License-Identifier: GPL-3.0-or-later
// Axes that several painted plots share.
#pragma once

#include <QString>
#include <vector>

class QPainter;
class QRectF;

namespace bitlathe::gui {

struct Tick {
  double value = 0;
  QString text;
};

/// About `wanted` round values inside [lo, hi], with as many decimals as their step needs.
std::vector<Tick> niceTicks(double lo, double hi, int wanted);
/// Powers of ten from 1 to `top`.
std::vector<Tick> decadeTicks(double top);

} // namespace bitlathe::gui
