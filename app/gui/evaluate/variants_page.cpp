// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/evaluate/variants_page.h"

#include "app/gui/evaluate/quality_card.h"
#include "app/gui/evaluate/variants_card.h"
#include "app/gui/theme.h"

#include <QSplitter>
#include <QVBoxLayout>

namespace bitlathe::gui {

VariantsPage::VariantsPage(Workbench& workbench, QWidget* parent) : QWidget(parent) {
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(0, space::s, 0, 0);
  auto* split = new QSplitter(Qt::Vertical, this);
  split->setChildrenCollapsible(false);
  split->setHandleWidth(space::s);
  quality_ = new QualityCard(workbench, split);
  variants_ = new VariantsCard(workbench, split);
  split->addWidget(quality_);
  split->addWidget(variants_);
  split->setSizes({3000, 2000});
  column->addWidget(split);
}

} // namespace bitlathe::gui
