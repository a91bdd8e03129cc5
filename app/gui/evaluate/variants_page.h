// SPDX-License-Identifier: GPL-3.0-or-later
// All variants of the session: the chart of quality against size over their table.
#pragma once

#include <QWidget>

namespace bitlathe::gui {

class QualityCard;
class VariantsCard;
class Workbench;

class VariantsPage : public QWidget {
  Q_OBJECT
 public:
  explicit VariantsPage(Workbench& workbench, QWidget* parent = nullptr);
  QualityCard* quality() const { return quality_; }
  VariantsCard* variants() const { return variants_; }

 private:
  QualityCard* quality_;
  VariantsCard* variants_;
};

} // namespace bitlathe::gui
