// SPDX-License-Identifier: GPL-3.0-or-later
// One line of the Export stage: the report as a page or on paper, and the last one written.
#pragma once

#include "app/gui/report/session_report.h"
#include "app/gui/widgets/card.h"

class QPushButton;

namespace bitlathe::gui {

class ReportCard : public Card {
  Q_OBJECT
 public:
  explicit ReportCard(Workbench& workbench, QWidget* parent = nullptr);

 private:
  void refresh();
  SessionReport& report_;
  QPushButton *page_, *paper_, *open_;
};

} // namespace bitlathe::gui
