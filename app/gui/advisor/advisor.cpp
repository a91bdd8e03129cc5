// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/advisor/advisor.h"

#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "core/base/lenient_json.h"
#include "core/export/doctor.h"

#include <algorithm>
#include <QButtonGroup>
#include <QCheckBox>
#include <QComboBox>
#include <QDoubleSpinBox>
#include <QFormLayout>
#include <QFrame>
#include <QLabel>
#include <QPushButton>
#include <QTextBrowser>
#include <QVBoxLayout>

namespace bitlathe::gui {
namespace {

const QString session_key = QStringLiteral("advisor");

QString text(std::string_view s) { return QString::fromUtf8(s.data(), qsizetype(s.size())); }

QString escaped(const std::string& s) { return QString::fromStdString(s).toHtmlEscaped(); }

/// What is installed; 0 when the system does not say.
quint64 machineMemory() {
  const auto read = read_file("/proc/meminfo", 1u << 16);
  if (!read)
    return 0;
  const auto at = read->find("MemTotal:");
  return at == std::string::npos ? 0 : std::strtoull(read->c_str() + at + 9, nullptr, 10) * 1024;
}

} // namespace

Advisor* Advisor::open(Workbench& workbench, QWidget* parent) {
  QWidget* window = parent->window();
  auto* advisor = window->findChild<Advisor*>();
  if (!advisor)
    advisor = new Advisor(workbench, window);
  advisor->show();
  advisor->raise();
  advisor->activateWindow();
  return advisor;
}

Advisor::Advisor(Workbench& workbench, QWidget* parent) : QDialog(parent), workbench_(workbench) {
  setWindowTitle(tr("Advisor"));
  setModal(false);
  resize(760, 720);
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(space::l, space::l, space::l, space::l);
  column->setSpacing(space::s);
  column->addWidget(buildQuestions());
  auto* result = new QFrame(this);
  setRole(result, "card");
  auto* body = new QVBoxLayout(result);
  body->setContentsMargins(space::m, space::m, space::m, space::m);
  title_ = new QLabel(result);
  title_->setFont(titleFont());
  title_->setWordWrap(true);
  title_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  title_->setAccessibleName(tr("Proposed recipe"));
  size_ = new QLabel(result);
  size_->setWordWrap(true);
  size_->setAccessibleName(tr("Predicted size"));
  reasons_ = new QTextBrowser(result);
  reasons_->setFrameShape(QFrame::NoFrame);
  reasons_->setAccessibleName(tr("Reasons"));
  reasons_->setToolTip(tr("A sentence for every decision, and what was turned down"));
  body->addWidget(title_);
  body->addWidget(size_);
  body->addWidget(reasons_, 1);
  column->addWidget(result, 1);
  auto* buttons = new QHBoxLayout;
  auto* close = new QPushButton(tr("&Close"), this);
  close->setToolTip(tr("Closes the advisor; the recipe stays as it is (Esc)"));
  close->setAutoDefault(false);
  connect(close, &QPushButton::clicked, this, &QDialog::close);
  use_ = new QPushButton(tr("&Use this recipe"), this);
  setRole(use_, "primary");
  use_->setDefault(true);
  use_->setToolTip(tr("Takes the place of the recipe as one step; undo brings the old one back "
                      "(Return)"));
  connect(use_, &QPushButton::clicked, this, &Advisor::use);
  buttons->addStretch(1);
  buttons->addWidget(close);
  buttons->addWidget(use_);
  column->addLayout(buttons);
  connect(&workbench_, &Workbench::opened, this, [this] {
    restore();
    ask();
  });
  connect(&Theme::instance(), &Theme::changed, this, [this] {
    if (advice_)
      reasons_->setHtml(html(*advice_));
  });
  restore();
  ask();
}

QWidget* Advisor::buildQuestions() {
  auto* card = new QFrame(this);
  setRole(card, "card");
  auto* column = new QVBoxLayout(card);
  column->setContentsMargins(space::m, space::m, space::m, space::m);
  column->setSpacing(space::s);
  column->addWidget(makeTitle(tr("What matters most?"), card));
  auto* row = new QHBoxLayout;
  row->setSpacing(space::s);
  goals_ = new QButtonGroup(this);
  int id = 0;
  for (const AdviceGoal& goal : advice_goals()) {
    auto* button = new QPushButton(text(goal.title), card);
    button->setCheckable(true);
    button->setAutoDefault(false);
    button->setToolTip(text(goal.summary));
    button->setAccessibleDescription(text(goal.summary));
    setRole(button, "chip");
    button->setMinimumHeight(28);
    goals_->addButton(button, id++);
    row->addWidget(button, 1);
  }
  goals_->button(0)->setChecked(true);
  connect(goals_, &QButtonGroup::idClicked, this, &Advisor::ask);
  column->addLayout(row);
  auto* form = new QFormLayout;
  form->setHorizontalSpacing(space::l);
  form->setVerticalSpacing(space::xs);
  auto* fit = new QHBoxLayout;
  budget_ = new QDoubleSpinBox(card);
  budget_->setDecimals(2);
  budget_->setRange(0, 1e6);
  budget_->setSpecialValueText(tr("as it comes"));
  budget_->setAccessibleName(tr("Budget"));
  budget_->setToolTip(tr("What the weights may take on disk and in memory; keys and values come on "
                         "top when the model runs"));
  budget_->setKeyboardTracking(false);
  unit_ = new QComboBox(card);
  unit_->addItem(QStringLiteral("MiB"), 1048576.0);
  unit_->addItem(QStringLiteral("GiB"), 1073741824.0);
  unit_->setAccessibleName(tr("Unit of the budget"));
  unit_->setToolTip(tr("1 GiB is 1024 MiB"));
  fit->addWidget(budget_, 1);
  fit->addWidget(unit_);
  form->addRow(tr("&Fit in"), fit);
  runtime_ = new QComboBox(card);
  runtime_->addItem(tr("anything"), QString());
  for (const std::string& runtime : known_runtimes())
    runtime_->addItem(text(runtime), text(runtime));
  runtime_->setAccessibleName(tr("Runs on"));
  runtime_->setToolTip(tr("The program that is to run the model: only what it loads is proposed"));
  form->addRow(tr("&Runs on"), runtime_);
  calibrate_ = new QCheckBox(tr("Text may be run through the model (calibration)"), card);
  calibrate_->setChecked(true);
  calibrate_->setToolTip(tr("Calibrated methods lose less at few bits, and take longer"));
  form->addRow(QString(), calibrate_);
  if (auto* label = qobject_cast<QLabel*>(form->labelForField(fit)))
    label->setBuddy(budget_);
  column->addLayout(form);
  connect(budget_, &QDoubleSpinBox::valueChanged, this, &Advisor::ask);
  connect(unit_, &QComboBox::currentIndexChanged, this, &Advisor::ask);
  connect(runtime_, &QComboBox::currentIndexChanged, this, &Advisor::ask);
  connect(calibrate_, &QCheckBox::toggled, this, &Advisor::ask);
  card->setSizePolicy(QSizePolicy::Preferred, QSizePolicy::Maximum);
  return card;
}

// --- what is asked ------------------------------------------------------------------------------

void Advisor::setGoal(const QString& id) {
  int index = 0;
  for (const AdviceGoal& goal : advice_goals()) {
    if (text(goal.id) == id)
      goals_->button(index)->setChecked(true);
    ++index;
  }
  ask();
}

void Advisor::setBudget(quint64 bytes) {
  {
    const QSignalBlocker quiet[] = {QSignalBlocker(budget_), QSignalBlocker(unit_)};
    unit_->setCurrentIndex(bytes >= (1ull << 30) ? 1 : 0);
    budget_->setValue(double(bytes) / unit_->currentData().toDouble());
  }
  ask();
}

void Advisor::setRuntime(const QString& runtime) {
  runtime_->setCurrentIndex(std::max(0, runtime_->findData(runtime)));
}

void Advisor::restore() {
  const Json kept = workbench_.stageState(session_key);
  if (!kept.is_object())
    return;
  const QSignalBlocker quiet[] = {QSignalBlocker(budget_), QSignalBlocker(unit_),
                                  QSignalBlocker(runtime_), QSignalBlocker(calibrate_)};
  int index = 0;
  for (const AdviceGoal& goal : advice_goals())
    goals_->button(index++)->setChecked(lenient::text(kept, "goal", "quick") == goal.id);
  if (!goals_->checkedButton())
    goals_->button(0)->setChecked(true);
  const double bytes = std::clamp(lenient::number(kept, "budget", 0), 0.0, 1e15);
  unit_->setCurrentIndex(bytes >= 1073741824.0 ? 1 : 0);
  budget_->setValue(bytes / unit_->currentData().toDouble());
  setRuntime(QString::fromStdString(lenient::text(kept, "runtime")));
  calibrate_->setChecked(lenient::flag(kept, "calibrate", true));
}

AdviceWish Advisor::wish() const {
  AdviceWish out;
  out.goal = std::string(advice_goals()[std::size_t(std::max(0, goals_->checkedId()))].id);
  out.budget = quint64(budget_->value() * unit_->currentData().toDouble());
  out.runtime = runtime_->currentData().toString().toStdString();
  out.calibrate = calibrate_->isChecked();
  out.calibration = workbench_.calibrationFiles();
  out.memory = machineMemory();
  out.costs = module_costs(workbench_.stageState(QStringLiteral("attribution")));
  return out;
}

void Advisor::ask() {
  advice_.reset();
  use_->setEnabled(false);
  size_->clear();
  reasons_->clear();
  if (!workbench_.checkpoint()) {
    title_->setText(tr("Open a checkpoint first"));
    return;
  }
  title_->setText(tr("Looking at what fits\u2026"));
  asking_ = true;
  workbench_.engine().run<Advice>(
      QStringLiteral("advise"), tr("Asking the advisor"), this,
      [model = workbench_.checkpoint(), wanted = wish()](Feedback&, Compute&) {
        return advise(*model, wanted);
      },
      [this](Result<Advice> result) { answer(result); }, false);
}

void Advisor::answer(const Result<Advice>& result) {
  if (!result && result.error().cancelled())
    return; // a newer question is on its way
  asking_ = false;
  if (!result) {
    title_->setText(tr("Nothing can be proposed"));
    size_->setText(QString::fromStdString(result.error().message));
    setRole(size_, "warning");
    Q_EMIT advised();
    return;
  }
  advice_ = *result;
  title_->setText(QString::fromStdString(advice_->title));
  QString size = tr("%1 instead of %2, %3")
                     .arg(formatBytes(advice_->bytes), formatBytes(advice_->bytes_before),
                          formatBits(advice_->bits_per_weight));
  if (!advice_->fits)
    size += QStringLiteral("\n") + QString::fromStdString(advice_->problem);
  size_->setText(size);
  setRole(size_, advice_->fits ? "muted" : "warning");
  reasons_->setHtml(html(*advice_));
  use_->setEnabled(true);
  Q_EMIT advised();
}

QString Advisor::html(const Advice& advice) const {
  const ThemeColors& c = theme();
  QString out;
  const auto paragraph = [&](const QString& head, const QString& choice, const QString& words) {
    out += QStringLiteral("<p style='margin:0 0 8px 0'><span style='color:%1'>%2</span>&nbsp; "
                          "<b>%3</b><br>%4</p>")
               .arg(c.muted.name(), head, choice, words);
  };
  for (const AdviceDecision& decision : advice.decisions)
    paragraph(escaped(decision.topic), escaped(decision.choice), escaped(decision.reason));
  if (!advice.rejected.empty())
    out += QStringLiteral("<h4>%1</h4>").arg(tr("Turned down"));
  for (const AdviceRejected& rejected : advice.rejected)
    paragraph(rejected.bytes ? formatBytes(rejected.bytes) : QString(), escaped(rejected.what),
              escaped(rejected.why));
  if (!advice.notes.empty())
    out += QStringLiteral("<h4>%1</h4>").arg(tr("Notes"));
  for (const std::string& note : advice.notes)
    out += QStringLiteral("<p style='margin:0 0 6px 0'>%1</p>").arg(escaped(note));
  return out;
}

void Advisor::use() {
  if (!advice_)
    return;
  const AdviceWish wanted = wish();
  workbench_.setStageState(session_key, {{"goal", wanted.goal},
                                         {"budget", wanted.budget},
                                         {"runtime", wanted.runtime},
                                         {"calibrate", wanted.calibrate},
                                         {"format", advice_->format}});
  Recipe recipe = advice_->recipe;
  if (recipe.calibration_files.empty()) // what was chosen is not lost for what comes later
    recipe.calibration_files = workbench_.recipe().calibration_files;
  workbench_.setRecipe(recipe, tr("Advice: %1").arg(goals_->checkedButton()->text()));
  Q_EMIT workbench_.message(int(LogLevel::info),
                            tr("The advised recipe is in place; export it as %1")
                                .arg(QString::fromStdString(advice_->format)));
  Q_EMIT used(QString::fromStdString(advice_->format));
  close();
}

} // namespace bitlathe::gui
