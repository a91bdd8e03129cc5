// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/widgets/figure_tile.h"

#include "app/gui/theme.h"

#include <QLabel>
#include <QVBoxLayout>

namespace bitlathe::gui {

FigureTile::FigureTile(const QString& caption, const QString& tooltip, QWidget* parent)
    : QWidget(parent), value_(new QLabel(this)), detail_(new QLabel(this)), caption_(caption) {
  setToolTip(tooltip);
  auto* head = new QLabel(caption, this);
  head->setFont(smallFont());
  setRole(head, "muted");
  QFont large = numberFont();
  large.setPointSizeF(large.pointSizeF() * 1.3);
  value_->setFont(large);
  value_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  detail_->setFont(smallFont());
  setRole(detail_, "muted");
  for (QLabel* label : {value_, detail_}) // a long value must not widen the window
    label->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Preferred);
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(1);
  column->addWidget(head);
  column->addWidget(value_);
  column->addWidget(detail_);
  setMinimumWidth(96);
  set({});
}

void FigureTile::set(const QString& value, const QString& detail) {
  value_->setText(value.isEmpty() ? QStringLiteral("\u2013") : value);
  detail_->setText(detail);
  setAccessibleName(caption_ + QStringLiteral(": ") + value_->text());
  setAccessibleDescription(detail);
}

} // namespace bitlathe::gui
