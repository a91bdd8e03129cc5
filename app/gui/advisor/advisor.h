// SPDX-License-Identifier: GPL-3.0-or-later
// The advisor: asks what matters most and proposes a recipe with its reasons. A window beside the
// others; the recipe is taken over as one step that can be undone.
#pragma once

#include "app/gui/workbench.h"
#include "core/recipe/advisor.h"

#include <optional>
#include <QDialog>

class QButtonGroup;
class QCheckBox;
class QComboBox;
class QDoubleSpinBox;
class QLabel;
class QPushButton;
class QTextBrowser;

namespace bitlathe::gui {

class Advisor : public QDialog {
  Q_OBJECT
 public:
  Advisor(Workbench& workbench, QWidget* parent);
  /// The one of this window: shown and brought to the front.
  static Advisor* open(Workbench& workbench, QWidget* parent);

  void setGoal(const QString& id);
  void setBudget(quint64 bytes); ///< 0: none
  void setRuntime(const QString& runtime);
  const std::optional<Advice>& advice() const { return advice_; }
  bool asking() const { return asking_; }
  /// Takes the recipe over; nothing without advice.
  void use();

 Q_SIGNALS:
  void advised();
  void used(const QString& format);

 private:
  QWidget* buildQuestions();
  void restore();
  AdviceWish wish() const;
  void ask();
  void answer(const Result<Advice>& result);
  QString html(const Advice& advice) const;

  Workbench& workbench_;
  std::optional<Advice> advice_;
  bool asking_ = false;
  QButtonGroup* goals_;
  QDoubleSpinBox* budget_;
  QComboBox *unit_, *runtime_;
  QCheckBox* calibrate_;
  QLabel *title_, *size_;
  QTextBrowser* reasons_;
  QPushButton* use_;
};

} // namespace bitlathe::gui
