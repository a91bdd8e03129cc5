// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/plan/plan_stage.h"

#include "app/gui/advisor/advisor.h"
#include "app/gui/calibration/calibration_card.h"
#include "app/gui/format.h"
#include "app/gui/plan/budget_bar.h"
#include "app/gui/plan/params_form.h"
#include "app/gui/plan/rule_model.h"
#include "app/gui/theme.h"
#include "app/gui/tree/editors.h"
#include "app/gui/tree/module_menu.h"
#include "app/gui/widgets/card.h"
#include "app/gui/widgets/flow_layout.h"
#include "app/gui/widgets/save_menu.h"
#include "core/observers/observer.h"
#include "core/schemes/activations.h"
#include "kernels/nn/kv.h"

#include <algorithm>
#include <QComboBox>
#include <QDoubleSpinBox>
#include <QGridLayout>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QLineEdit>
#include <QListWidget>
#include <QPushButton>
#include <QScrollArea>
#include <QTableView>
#include <QToolButton>
#include <QVBoxLayout>

namespace bitlathe::gui {

namespace {

QString text(std::string_view s) { return QString::fromUtf8(s.data(), qsizetype(s.size())); }

QLabel* fieldLabel(const QString& title, const QString& tip, QWidget* buddy) {
  auto* label = new QLabel(title, buddy->parentWidget());
  label->setToolTip(tip);
  label->setBuddy(buddy);
  setRole(label, "muted");
  return label;
}

QToolButton* tool(const QString& sign, const QString& name, const QString& tip, QWidget* parent) {
  auto* button = new QToolButton(parent);
  button->setText(sign);
  button->setToolTip(tip);
  button->setAccessibleName(name);
  return button;
}

/// A card takes spare height only while it has something to show in it.
void growWith(QWidget* card, bool content) {
  card->setSizePolicy(QSizePolicy::Preferred,
                      content ? QSizePolicy::Expanding : QSizePolicy::Maximum);
}

} // namespace

PlanStage::PlanStage(Workbench& workbench, QWidget* parent)
    : QWidget(parent), workbench_(workbench) {
  auto* scroll = new QScrollArea(this);
  scroll->setWidgetResizable(true);
  scroll->setFrameShape(QFrame::NoFrame);
  auto* page = new QWidget;
  setRole(page, "clear");
  auto* column = new QVBoxLayout(page);
  column->setContentsMargins(space::s, space::s, space::s, space::s);
  column->setSpacing(space::s);
  column->addWidget(buildSize());
  column->addWidget(buildDefaults());
  column->addWidget(buildRules(), 2);
  column->addWidget(new CalibrationCard(workbench_, page));
  column->addWidget(buildNotes(), 1);
  column->addStretch(1);
  scroll->setWidget(page);
  auto* outer = new QVBoxLayout(this);
  outer->setContentsMargins(0, 0, 0, 0);
  outer->addWidget(scroll);
  // It scrolls down, not sideways: the tree beside it gives way first.
  scroll->setMinimumWidth(112 * QFontMetrics(scroll->font()).averageCharWidth());
  connect(&workbench, &Workbench::opened, this, [this] {
    showRecipe();
    showPlan();
  });
  connect(&workbench, &Workbench::recipeChanged, this, &PlanStage::showRecipe);
  connect(&workbench, &Workbench::planChanged, this, &PlanStage::showPlan);
  showRecipe();
  showPlan();
}

void PlanStage::change(const QString& what, const std::function<void(Recipe&)>& edit) {
  Recipe next = workbench_.recipe();
  edit(next);
  workbench_.setRecipe(next, what);
}

QWidget* PlanStage::buildSize() {
  size_card_ = new Card(tr("Predicted size"),
                        tr("What the result will take, exactly: codes, scales, zero points and "
                           "everything that is kept"),
                        this);
  auto* body = new QWidget(size_card_);
  big_ = new QLabel(body);
  QFont font = titleFont();
  font.setPointSizeF(font.pointSizeF() * 1.45);
  big_->setFont(font);
  sub_ = new QLabel(body);
  setRole(sub_, "muted");
  sub_->setToolTip(tr("Bits per weight over the whole model, and over the quantized modules"));
  budget_ = new QDoubleSpinBox(body);
  budget_->setDecimals(2);
  budget_->setRange(0, 1e6);
  budget_->setSpecialValueText(tr("no budget"));
  budget_->setToolTip(
      tr("How much memory or disk there is; the bar shows whether the result fits"));
  budget_->setAccessibleName(tr("Budget"));
  budget_unit_ = new QComboBox(body);
  budget_unit_->addItem(QStringLiteral("MiB"), 1048576.0);
  budget_unit_->addItem(QStringLiteral("GiB"), 1073741824.0);
  budget_unit_->setAccessibleName(tr("Unit of the budget"));
  budget_unit_->setToolTip(tr("1 GiB is 1024 MiB"));
  const Json kept = workbench_.stageState(QStringLiteral("plan"));
  if (kept.is_object() && kept.contains("budget") && kept["budget"].is_number()) {
    const double bytes = kept["budget"].get<double>();
    budget_unit_->setCurrentIndex(bytes >= 1073741824.0 ? 1 : 0);
    budget_->setValue(bytes / budget_unit_->currentData().toDouble());
  }
  verdict_ = new QLabel(body);
  connect(budget_, &QDoubleSpinBox::valueChanged, this, &PlanStage::showBudget);
  connect(budget_unit_, &QComboBox::currentIndexChanged, this, &PlanStage::showBudget);
  bar_ = new BudgetBar(body);
  auto* fit = new QHBoxLayout;
  fit->setSpacing(space::xs);
  fit->addWidget(fieldLabel(tr("Fit in"), budget_->toolTip(), budget_));
  fit->addWidget(budget_);
  fit->addWidget(budget_unit_);
  auto* grid = new QGridLayout(body);
  grid->setContentsMargins(0, 0, 0, 0);
  grid->addWidget(big_, 0, 0);
  grid->addLayout(fit, 0, 1, Qt::AlignRight);
  grid->addWidget(sub_, 1, 0);
  grid->addWidget(verdict_, 1, 1, Qt::AlignRight);
  grid->addWidget(bar_, 2, 0, 1, 2);
  grid->setColumnStretch(0, 1);
  size_card_->addBody(body);
  return size_card_;
}

QWidget* PlanStage::buildDefaults() {
  auto* card = new Card(tr("Default"),
                        tr("What every matrix gets unless a rule or an exclusion says otherwise; "
                           "embeddings, head and norms keep their type by default"),
                        this);
  auto* presets = new QWidget(card);
  auto* flow = new FlowLayout(presets, space::xs);
  for (const auto& preset : recipe_presets()) {
    auto* button = new QPushButton(text(preset.title), presets);
    button->setToolTip(text(preset.summary));
    button->setFont(smallFont());
    setRole(button, "chip");
    connect(button, &QPushButton::clicked, this, [this, &preset] {
      change(tr("Preset %1").arg(text(preset.title)), [&](Recipe& recipe) {
        auto files = recipe.calibration_files;
        recipe = preset.make();
        recipe.calibration_files = std::move(files);
      });
    });
    flow->addWidget(button);
  }
  card->addBody(presets, 0);
  auto* advice = new QPushButton(tr("Advisor\u2026"), card);
  advice->setToolTip(tr("Asks what matters most and proposes a recipe with its reasons "
                        "(Ctrl+Shift+A)"));
  advice->setShortcut(QKeySequence(Qt::CTRL | Qt::SHIFT | Qt::Key_A));
  connect(advice, &QPushButton::clicked, this, [this] { Advisor::open(workbench_, this); });
  card->addTool(advice);
  auto* body = new QWidget(card);
  scheme_ = makeSchemeBox(body);
  method_ = makeMethodBox(body);
  observer_ = new QComboBox(body);
  for (const auto* observer : all_observers()) {
    observer_->addItem(text(observer->id));
    observer_->setItemData(observer_->count() - 1, text(observer->summary), Qt::ToolTipRole);
  }
  observer_->setToolTip(tr("Observer: how the range that a scale must cover is chosen"));
  observer_->setAccessibleName(tr("Observer"));
  activations_ = new QComboBox(body);
  activations_->addItem(tr("auto (with the method)"), QStringLiteral("auto"));
  activations_->addItem(tr("none (weight-only)"), QStringLiteral("none"));
  activations_->setItemData(0, tr("Inputs of linears stay in floating point"), Qt::ToolTipRole);
  for (const ActivationScheme& scheme : all_activation_schemes()) {
    activations_->addItem(text(scheme.id), text(scheme.id));
    activations_->setItemData(activations_->count() - 1, text(scheme.summary), Qt::ToolTipRole);
  }
  activations_->setToolTip(tr("Activation scheme: how the inputs of linears are coded before the "
                              "product; static schemes need calibration text"));
  activations_->setAccessibleName(tr("Activation scheme"));
  input_range_ = new QComboBox(body);
  for (const auto* observer : all_observers()) {
    input_range_->addItem(text(observer->id));
    input_range_->setItemData(input_range_->count() - 1, text(observer->summary), Qt::ToolTipRole);
  }
  input_range_->setToolTip(tr("Observer of static activation schemes: how the range of inputs is "
                              "chosen from what calibration saw"));
  input_range_->setAccessibleName(tr("Input range"));
  const auto makeKvBox = [&](const QString& name, const QString& tip) {
    auto* box = new QComboBox(body);
    for (const std::string_view id : kv_layout_ids())
      box->addItem(text(id));
    box->setToolTip(tip);
    box->setAccessibleName(name);
    return box;
  };
  kv_keys_ = makeKvBox(tr("Keys"), tr("How the cache stores the keys of attention; recorded with "
                                      "the result. f8_e4m3-static needs calibration text"));
  kv_values_ =
      makeKvBox(tr("Values"), tr("How the cache stores the values of attention; recorded "
                                 "with the result. f8_e4m3-static needs calibration text"));
  method_summary_ = makeCaption({}, body);
  params_ = new ParamsForm(body);
  connect(scheme_, &QComboBox::activated, this, [this] {
    change(tr("Default precision %1").arg(scheme_->currentText()), [this](Recipe& recipe) {
      recipe.default_scheme = scheme_->currentText().trimmed().toStdString();
    });
  });
  connect(scheme_->lineEdit(), &QLineEdit::editingFinished, this, [this] {
    if (const QString id = scheme_->currentText().trimmed(); !id.isEmpty())
      change(tr("Default precision %1").arg(id),
             [&](Recipe& recipe) { recipe.default_scheme = id.toStdString(); });
  });
  connect(method_, &QComboBox::activated, this, [this] {
    change(tr("Default method %1").arg(method_->currentText()), [this](Recipe& recipe) {
      if (recipe.default_method == method_->currentText().toStdString())
        return;
      recipe.default_method = method_->currentText().toStdString();
      recipe.default_params = Json::object();
    });
  });
  connect(observer_, &QComboBox::activated, this, [this] {
    change(tr("Observer %1").arg(observer_->currentText()),
           [this](Recipe& recipe) { recipe.observer = observer_->currentText().toStdString(); });
  });
  connect(activations_, &QComboBox::activated, this, [this] {
    change(tr("Activations %1").arg(activations_->currentText()), [this](Recipe& recipe) {
      recipe.activations = activations_->currentData().toString().toStdString();
    });
  });
  connect(input_range_, &QComboBox::activated, this, [this] {
    change(tr("Input range %1").arg(input_range_->currentText()), [this](Recipe& recipe) {
      recipe.activation_observer = input_range_->currentText().toStdString();
    });
  });
  connect(kv_keys_, &QComboBox::activated, this, [this] {
    change(tr("Keys %1").arg(kv_keys_->currentText()),
           [this](Recipe& recipe) { recipe.kv_keys = kv_keys_->currentText().toStdString(); });
  });
  connect(kv_values_, &QComboBox::activated, this, [this] {
    change(tr("Values %1").arg(kv_values_->currentText()),
           [this](Recipe& recipe) { recipe.kv_values = kv_values_->currentText().toStdString(); });
  });
  connect(params_, &ParamsForm::edited, this, [this](const Json& params) {
    change(tr("Parameters of %1").arg(method_->currentText()),
           [&](Recipe& recipe) { recipe.default_params = params; });
  });
  auto* grid = new QGridLayout(body);
  grid->setContentsMargins(0, space::xs, 0, 0);
  grid->setHorizontalSpacing(space::s);
  grid->setVerticalSpacing(space::xs);
  grid->addWidget(fieldLabel(tr("Precision"), tr("How values are stored"), scheme_), 0, 0);
  grid->addWidget(scheme_, 0, 1);
  grid->addWidget(fieldLabel(tr("Method"), tr("How codes are chosen"), method_), 0, 2);
  grid->addWidget(method_, 0, 3);
  grid->addWidget(fieldLabel(tr("Activations"), activations_->toolTip(), activations_), 1, 0);
  grid->addWidget(activations_, 1, 1);
  grid->addWidget(fieldLabel(tr("Range"), observer_->toolTip(), observer_), 1, 2);
  grid->addWidget(observer_, 1, 3);
  grid->addWidget(fieldLabel(tr("Keys"), kv_keys_->toolTip(), kv_keys_), 2, 0);
  grid->addWidget(kv_keys_, 2, 1);
  grid->addWidget(fieldLabel(tr("Values"), kv_values_->toolTip(), kv_values_), 2, 2);
  grid->addWidget(kv_values_, 2, 3);
  grid->addWidget(fieldLabel(tr("Input range"), input_range_->toolTip(), input_range_), 3, 0);
  grid->addWidget(input_range_, 3, 1);
  grid->addWidget(method_summary_, 4, 0, 1, 4);
  grid->addWidget(params_, 5, 0, 1, 4);
  grid->setColumnStretch(1, 1);
  grid->setColumnStretch(3, 1);
  card->addBody(body, 0);
  return card;
}

QWidget* PlanStage::buildRules() {
  rules_card_ =
      new Card(tr("Rules"),
               tr("Patterns on module names; the last matching rule wins, exclusions beat "
                  "rules"),
               this);
  rule_model_ = new RuleModel(workbench_, this);
  rules_ = new QTableView(rules_card_);
  rules_->setModel(rule_model_);
  rules_->setItemDelegateForColumn(RuleModel::scheme, new SchemeDelegate(rules_));
  rules_->setItemDelegateForColumn(RuleModel::method, new MethodDelegate(rules_));
  rules_->setSelectionBehavior(QAbstractItemView::SelectRows);
  rules_->setShowGrid(false);
  rules_->verticalHeader()->setDefaultSectionSize(25);
  rules_->verticalHeader()->hide();
  rules_->horizontalHeader()->setDefaultAlignment(Qt::AlignLeft | Qt::AlignVCenter);
  rules_->horizontalHeader()->setSectionResizeMode(RuleModel::pattern, QHeaderView::Stretch);
  rules_->setColumnWidth(RuleModel::scheme, 140);
  rules_->setColumnWidth(RuleModel::method, 80);
  rules_->setColumnWidth(RuleModel::matches, 70);
  rules_->setEditTriggers(QAbstractItemView::DoubleClicked | QAbstractItemView::EditKeyPressed |
                          QAbstractItemView::SelectedClicked);
  rules_->setAccessibleName(tr("Rules and exclusions"));
  rules_->setMinimumHeight(96);
  addTableMenu(rules_, QStringLiteral("rules"));
  rules_card_->addBody(rules_);
  no_rules_ =
      makeCaption(tr("None: every matrix gets the default. Change single layers in the tree "
                     "on the left (click a precision, or select several and use the "
                     "context menu), or add a pattern such as *.v_proj."),
                  rules_card_);
  rules_card_->addBody(no_rules_, 0);
  auto* add =
      tool(tr("+ Rule"), tr("Add a rule"),
           tr("Add a rule for the role of the selected layer; edit it in the table"), rules_card_);
  connect(add, &QToolButton::clicked, this, [this] {
    const QString current = workbench_.current();
    const auto dot = current.lastIndexOf('.');
    rule_model_->addRule(dot < 0 ? (current.isEmpty() ? QStringLiteral("*") : current)
                                 : '*' + current.mid(dot));
    const QModelIndex cell =
        rule_model_->index(int(workbench_.recipe().rules.size()) - 1, RuleModel::pattern);
    rules_->setCurrentIndex(cell);
    rules_->edit(cell);
  });
  auto* exclude = tool(tr("+ Exclusion"), tr("Add an exclusion"),
                       tr("Matching modules keep their source type"), rules_card_);
  connect(exclude, &QToolButton::clicked, this, [this] {
    rule_model_->addExclusion(QStringLiteral("lm_head"));
    const QModelIndex cell = rule_model_->index(rule_model_->rowCount() - 1, RuleModel::pattern);
    rules_->setCurrentIndex(cell);
    rules_->edit(cell);
  });
  up_ =
      tool(QStringLiteral("↑"), tr("Move up"), tr("Earlier: later rules win over it"), rules_card_);
  down_ = tool(QStringLiteral("↓"), tr("Move down"), tr("Later: it wins over earlier rules"),
               rules_card_);
  remove_ =
      tool(QStringLiteral("✕"), tr("Remove"), tr("Remove the selected rows (Delete)"), rules_card_);
  remove_->setShortcut(QKeySequence::Delete);
  const auto moveBy = [this](int by) {
    const auto rows = selectedRules();
    if (rows.size() != 1 || !rule_model_->canMove(rows.first(), by))
      return;
    rule_model_->move(rows.first(), by);
    rules_->selectRow(rows.first() + by);
  };
  connect(up_, &QToolButton::clicked, this, [moveBy] { moveBy(-1); });
  connect(down_, &QToolButton::clicked, this, [moveBy] { moveBy(1); });
  connect(remove_, &QToolButton::clicked, this, [this] { rule_model_->remove(selectedRules()); });
  for (QWidget* widget : {add, exclude, up_, down_, remove_})
    rules_card_->addTool(widget);
  connect(rules_->selectionModel(), &QItemSelectionModel::selectionChanged, this,
          &PlanStage::updateRuleButtons);
  connect(rule_model_, &QAbstractItemModel::modelReset, this, &PlanStage::updateRuleButtons);
  updateRuleButtons();
  return rules_card_;
}

QWidget* PlanStage::buildNotes() {
  notes_card_ = new Card(tr("Notes"),
                         tr("Fallbacks, patterns that match nothing, and everything else the plan "
                            "had to decide by itself"),
                         this);
  notes_ = new QListWidget(notes_card_);
  notes_->setWordWrap(true);
  notes_->setSelectionMode(QAbstractItemView::ExtendedSelection);
  notes_->setAccessibleName(tr("Notes of the plan"));
  notes_->setMinimumHeight(64);
  addTableMenu(notes_, QStringLiteral("notes"));
  notes_card_->addBody(notes_);
  return notes_card_;
}

QList<int> PlanStage::selectedRules() const {
  QList<int> selected;
  for (const auto& index : rules_->selectionModel()->selectedRows())
    selected.append(index.row());
  return selected;
}

void PlanStage::updateRuleButtons() {
  const auto selected = selectedRules();
  remove_->setEnabled(!selected.isEmpty());
  up_->setEnabled(selected.size() == 1 && rule_model_->canMove(selected.first(), -1));
  down_->setEnabled(selected.size() == 1 && rule_model_->canMove(selected.first(), 1));
  const bool any = rule_model_->rowCount() > 0;
  rules_->setVisible(any);
  no_rules_->setVisible(!any);
  growWith(rules_card_, any);
  rules_card_->setReadout(any ? tr("the last matching rule wins") : QString());
}

void PlanStage::showRecipe() {
  const Recipe& recipe = workbench_.recipe();
  const QString id = QString::fromStdString(recipe.default_scheme);
  {
    const QSignalBlocker quiet(scheme_), quiet_edit(scheme_->lineEdit());
    scheme_->setCurrentIndex(scheme_->findText(id));
    scheme_->setEditText(id);
  }
  method_->setCurrentIndex(method_->findText(QString::fromStdString(recipe.default_method)));
  observer_->setCurrentIndex(observer_->findText(QString::fromStdString(recipe.observer)));
  activations_->setCurrentIndex(activations_->findData(QString::fromStdString(recipe.activations)));
  input_range_->setCurrentIndex(
      input_range_->findText(QString::fromStdString(recipe.activation_observer)));
  const auto* scheme = find_activation_scheme(recipe.activations);
  input_range_->setEnabled(scheme && scheme->is_static);
  kv_keys_->setCurrentIndex(kv_keys_->findText(QString::fromStdString(recipe.kv_keys)));
  kv_values_->setCurrentIndex(kv_values_->findText(QString::fromStdString(recipe.kv_values)));
  const Method* method = find_method(recipe.default_method);
  params_->show(method, recipe.default_params);
  method_summary_->setText(method ? text(method->summary) : QString());
  updateRuleButtons();
}

void PlanStage::showPlan() {
  const Plan* plan = workbench_.plan();
  bar_->setPlan(plan);
  notes_->clear();
  if (!plan) {
    big_->setText(QStringLiteral("–"));
    sub_->setText(workbench_.planError());
    if (!workbench_.planError().isEmpty())
      notes_->addItem(workbench_.planError());
    notes_->setVisible(notes_->count() > 0);
    notes_card_->setReadout({});
    showBudget();
    return;
  }
  big_->setText(QStringLiteral("%1  →  %2")
                    .arg(formatBytes(plan->bytes_before), formatBytes(plan->bytes_after)));
  sub_->setText(tr("%1 of the source · %2 overall · %3 where quantized")
                    .arg(formatPercent(double(plan->bytes_after) /
                                           double(std::max<std::uint64_t>(plan->bytes_before, 1)),
                                       1),
                         formatBits(plan->bits_per_weight),
                         formatBits(plan->bits_per_quantized_weight)));
  for (const auto& note : plan->notes)
    notes_->addItem(QString::fromStdString(note));
  notes_card_->setReadout(plan->notes.empty() ? tr("none: every module gets what the recipe asks "
                                                   "for")
                                              : QString());
  notes_->setVisible(!plan->notes.empty());
  growWith(notes_card_, !plan->notes.empty());
  showBudget();
}

void PlanStage::showBudget() {
  const double bytes = budget_->value() * budget_unit_->currentData().toDouble();
  bar_->setBudget(quint64(bytes));
  const Plan* plan = workbench_.plan();
  if (plan && bytes > 0) {
    const double room = bytes - double(plan->bytes_after);
    setRole(verdict_, room >= 0 ? "ok" : "error");
    verdict_->setText(room >= 0 ? tr("fits, %1 to spare").arg(formatBytes(quint64(room)))
                                : tr("%1 too much").arg(formatBytes(quint64(-room))));
  } else {
    verdict_->clear();
  }
  Json state = workbench_.stageState(QStringLiteral("plan"));
  const double kept = state.is_object() ? state.value("budget", 0.0) : 0.0;
  if (workbench_.checkpoint() && std::abs(kept - bytes) > 0.5)
    workbench_.setStageState(QStringLiteral("plan"), Json{{"budget", bytes}});
}

} // namespace bitlathe::gui
