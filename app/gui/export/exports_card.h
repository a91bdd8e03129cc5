// SPDX-License-Identifier: GPL-3.0-or-later
// What was written from this window, and what verifying it found: every check, and the modules with
// the largest errors.
#pragma once

#include "app/gui/export/exports_model.h"
#include "app/gui/widgets/card.h"
#include "app/gui/workbench.h"

class QPushButton;
class QTableView;
class QTableWidget;
class QTabWidget;
class QTextBrowser;

namespace bitlathe::gui {

class Evidence;

class ExportsCard : public Card {
  Q_OBJECT
 public:
  explicit ExportsCard(Workbench& workbench, QWidget* parent = nullptr);
  const ExportsModel& exports() const { return *exports_; }
  void verify(const QString& path);
  void refresh();

 private:
  QString selectedPath() const;
  void showChecks();
  void openSelected();

  Workbench& workbench_;
  Evidence* evidence_;
  QStringList verifying_;
  ExportsModel* exports_;
  QTableView* table_;
  QPushButton *open_, *again_;
  QTabWidget* tabs_;
  QTextBrowser* checks_;
  QTableWidget* worst_;
};

/// A frameless browser for rich text made of findings or checks.
QTextBrowser* makeBrowser(const QString& name, QWidget* parent);

} // namespace bitlathe::gui
