// SPDX-License-Identifier: GPL-3.0-or-later
// Plan: what the recipe says and what it comes to. Single modules are edited in the layer tree,
// which shows precision and method columns in this stage.
#pragma once

#include "app/gui/workbench.h"

#include <QWidget>

class QComboBox;
class QDoubleSpinBox;
class QLabel;
class QListWidget;
class QTableView;
class QToolButton;

namespace bitlathe::gui {

class BudgetBar;
class Card;
class ParamsForm;
class RuleModel;

class PlanStage : public QWidget {
  Q_OBJECT
 public:
  explicit PlanStage(Workbench& workbench, QWidget* parent = nullptr);

 private:
  QWidget* buildSize();
  QWidget* buildDefaults();
  QWidget* buildRules();
  QWidget* buildNotes();
  void showRecipe();
  void showPlan();
  void showBudget();
  void change(const QString& what, const std::function<void(Recipe&)>& edit);
  void updateRuleButtons();
  QList<int> selectedRules() const;

  Workbench& workbench_;
  Card *size_card_ = nullptr, *rules_card_ = nullptr, *notes_card_ = nullptr;
  QLabel *big_ = nullptr, *sub_ = nullptr, *verdict_ = nullptr;
  BudgetBar* bar_ = nullptr;
  QDoubleSpinBox* budget_ = nullptr;
  QComboBox *budget_unit_ = nullptr, *scheme_ = nullptr, *method_ = nullptr, *observer_ = nullptr,
            *activations_ = nullptr, *input_range_ = nullptr, *kv_keys_ = nullptr,
            *kv_values_ = nullptr;
  QLabel *method_summary_ = nullptr, *no_rules_ = nullptr;
  ParamsForm* params_ = nullptr;
  RuleModel* rule_model_ = nullptr;
  QTableView* rules_ = nullptr;
  QToolButton *remove_ = nullptr, *up_ = nullptr, *down_ = nullptr;
  QListWidget* notes_ = nullptr;
};

} // namespace bitlathe::gui
