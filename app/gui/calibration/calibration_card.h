// SPDX-License-Identifier: GPL-3.0-or-later
// Where calibration text is chosen: files with parts, fields and weights, how much is drawn from
// them, what that covers, and whether it meets the text that results are judged on.
#pragma once

#include "app/gui/widgets/card.h"
#include "app/gui/workbench.h"

class QLabel;
class QMimeData;
class QPushButton;
class QSpinBox;
class QTableView;
class QToolButton;

namespace bitlathe::gui {

class CalibrationFiles;

class CalibrationCard : public Card {
  Q_OBJECT
 public:
  explicit CalibrationCard(Workbench& workbench, QWidget* parent = nullptr);
  CalibrationFiles& files() { return *files_; }
  QString coverageText() const;
  QString warningText() const;

 protected:
  void dragEnterEvent(QDragEnterEvent* event) override;
  void dropEvent(QDropEvent* event) override;

 private:
  QWidget* buildNumbers();
  void choose();
  void showRecipe();
  void showState();
  void showCoverage();
  void showWarnings();
  void fitTable();
  void change(const QString& what, const std::function<void(Recipe&)>& edit);

  Workbench& workbench_;
  CalibrationFiles* files_;
  QTableView* table_;
  QToolButton* remove_;
  QSpinBox *samples_, *length_, *seed_;
  QPushButton* run_;
  QLabel *coverage_, *warnings_;
};

/// Local paths of what is dragged, when all of it can be calibration text: files that are no
/// checkpoint, recipe or session. Else empty.
QStringList textsDragged(const QMimeData* data);

} // namespace bitlathe::gui
