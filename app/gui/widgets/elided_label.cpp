// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/widgets/elided_label.h"

#include <QPainter>
#include <QStyle>

namespace bitlathe::gui {

QSize ElidedLabel::minimumSizeHint() const { return {30, QLabel::minimumSizeHint().height()}; }

void ElidedLabel::paintEvent(QPaintEvent*) {
  QPainter painter(this);
  style()->drawItemText(&painter, rect(), int(alignment()), palette(), isEnabled(),
                        fontMetrics().elidedText(text(), mode_, width()), foregroundRole());
}

} // namespace bitlathe::gui
