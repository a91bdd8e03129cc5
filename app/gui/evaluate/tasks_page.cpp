// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/evaluate/tasks_page.h"

#include "app/gui/evaluate/page_parts.h"
#include "app/gui/evaluate/task_words.h"
#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/card.h"
#include "core/chat/chat.h"

#include <algorithm>
#include <mutex>
#include <QCheckBox>
#include <QComboBox>
#include <QDir>
#include <QFileDialog>
#include <QFileInfo>
#include <QHeaderView>
#include <QLabel>
#include <QLineEdit>
#include <QProgressBar>
#include <QPushButton>
#include <QSpinBox>
#include <QSplitter>
#include <QStandardItemModel>
#include <QTableView>
#include <QTextBrowser>
#include <QVBoxLayout>

namespace bitlathe::gui {
namespace {

const QString stage_key = QStringLiteral("tasks");
const QString job_tag = QStringLiteral("tasks");

} // namespace

/// What the job's thread leaves for the window.
struct TasksPage::Incoming {
  std::mutex mutex;
  std::optional<TaskReport> report;
};

TasksPage::TasksPage(Workbench& workbench, QWidget* parent)
    : QWidget(parent), workbench_(workbench), incoming_(std::make_shared<Incoming>()) {
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(0, space::s, 0, 0);
  column->setSpacing(space::s);
  column->addWidget(buildControls());
  figuresCard_ = new Card(tr("Figures"),
                          tr("Share of right items (or the score of the metric) with its 95 % "
                             "interval, and the chance of such a difference to the first model if "
                             "neither were better"),
                          this);
  figures_ = new QStandardItemModel(0, 5, this);
  figures_->setHorizontalHeaderLabels(
      {tr("Model"), tr("Score"), tr("95 % interval"), tr("Right"), tr("p against first")});
  figures_->horizontalHeaderItem(0)->setTextAlignment(Qt::AlignLeft | Qt::AlignVCenter);
  figuresTable_ =
      makeFiguresTable(figures_, tr("Task figures"), QStringLiteral("tasks"), figuresCard_);
  figuresTable_->horizontalHeader()->setSectionResizeMode(QHeaderView::ResizeToContents);
  figuresTable_->horizontalHeader()->setSectionResizeMode(0, QHeaderView::Stretch);
  figuresCard_->addBody(figuresTable_);
  remark_ = makeCaption({}, figuresCard_);
  figuresCard_->addBody(remark_, 0);
  figuresCard_->setSizePolicy(QSizePolicy::Preferred, QSizePolicy::Maximum);
  column->addWidget(figuresCard_);
  column->addWidget(buildItems(), 1);

  connect(&workbench_, &Workbench::opened, this, &TasksPage::restore);
  connect(&workbench_, &Workbench::contendersChanged, this, &TasksPage::refreshButtons);
  connect(&Theme::instance(), &Theme::changed, this, &TasksPage::showItem);
  connect(&workbench_.engine(), &EngineThread::progressed, this, &TasksPage::drain);
  restore();
}

TasksPage::~TasksPage() = default;

QWidget* TasksPage::buildControls() {
  auto* card = new QFrame(this);
  setRole(card, "card");
  auto* column = new QVBoxLayout(card);
  column->setContentsMargins(space::m, space::s, space::m, space::s);
  auto* row = new QHBoxLayout;
  row->setSpacing(space::xs + 2);
  const auto label = [row](const QString& text, QWidget* field, const QString& tip) {
    addLabelled(row, text, field, tip);
  };
  file_ = new QLineEdit(card);
  file_->setReadOnly(true);
  file_->setPlaceholderText(tr("Choose a file of tasks"));
  label(tr("Tasks"), file_,
        tr("A JSON object per line: prompt and answer, or as the set was "
           "published (HellaSwag, ARC, LAMBADA, GSM8K)"));
  row->setStretchFactor(file_, 1);
  auto* open = new QPushButton(tr("Open\u2026"), card);
  open->setToolTip(tr("Chooses a .jsonl file"));
  connect(open, &QPushButton::clicked, this, &TasksPage::askFile);
  row->addWidget(open);
  kind_ = new QComboBox(card);
  for (const TaskKind* kind : all_task_kinds()) {
    kind_->addItem(taskKindTitle(*kind),
                   QString::fromUtf8(kind->id.data(), qsizetype(kind->id.size())));
    kind_->setItemData(kind_->count() - 1, taskKindTip(*kind), Qt::ToolTipRole);
  }
  label(tr("Kind"), kind_, tr("What counts as right"));
  connect(kind_, &QComboBox::currentIndexChanged, this, &TasksPage::refreshButtons);
  shots_ = new QSpinBox(card);
  shots_->setRange(0, 64);
  label(tr("Shots"), shots_, tr("The first items become examples before every prompt"));
  limit_ = new QSpinBox(card);
  limit_->setRange(0, 1000000);
  limit_->setSpecialValueText(tr("all"));
  label(tr("Items"), limit_, tr("Only the first so many; more items, narrower intervals"));
  chat_ = new QCheckBox(tr("as chat"), card);
  row->addWidget(chat_);
  stop_ = new QPushButton(tr("Stop"), card);
  stop_->setToolTip(tr("Stops after the current item; models that are done stay on screen"));
  connect(stop_, &QPushButton::clicked, this, &TasksPage::stop);
  row->addWidget(stop_);
  run_ = new QPushButton(tr("Run tasks"), card);
  setRole(run_, "primary");
  run_->setToolTip(tr("Runs all items on every compared model"));
  connect(run_, &QPushButton::clicked, this, &TasksPage::run);
  row->addWidget(run_);
  column->addLayout(row);
  bar_ = new QProgressBar(card);
  bar_->setTextVisible(false);
  bar_->setFixedHeight(6);
  bar_->setRange(0, 1000);
  bar_->setAccessibleName(tr("Progress of the tasks"));
  bar_->hide();
  column->addWidget(bar_);
  return card;
}

QWidget* TasksPage::buildItems() {
  itemsCard_ = new Card(tr("Items"), tr("What was asked, and how every model did"), this);
  different_ = new QCheckBox(tr("only where models differ"), itemsCard_);
  different_->setToolTip(tr("Items that one model got right and another did not, or that have "
                            "different scores"));
  different_->setChecked(true);
  connect(different_, &QCheckBox::toggled, this, &TasksPage::refreshItems);
  itemsCard_->addTool(different_);
  compare_ = new QPushButton(tr("Open in Compare"), itemsCard_);
  compare_->setToolTip(tr("Takes this item's prompt to the Compare stage"));
  connect(compare_, &QPushButton::clicked, this, &TasksPage::offer);
  itemsCard_->addTool(compare_);
  auto* split = new QSplitter(Qt::Horizontal, itemsCard_);
  split->setChildrenCollapsible(false);
  split->setHandleWidth(space::s);
  items_ = new QStandardItemModel(this);
  itemsTable_ = makeFiguresTable(items_, tr("Items"), QStringLiteral("items"), split);
  connect(itemsTable_->selectionModel(), &QItemSelectionModel::currentRowChanged, this,
          &TasksPage::showItem);
  split->addWidget(itemsTable_);
  said_ = new QTextBrowser(split);
  said_->setOpenLinks(false);
  said_->setAccessibleName(tr("The item and what models said"));
  split->addWidget(said_);
  split->setSizes({1000, 1000});
  itemsCard_->addBody(split);
  return itemsCard_;
}

// --- state --------------------------------------------------------------------------------------

void TasksPage::restore() {
  running_ = false;
  incoming_ = std::make_shared<Incoming>(); // what runs for another model goes unheard
  report_ = {};
  file_->clear();
  if (const auto& model = workbench_.checkpoint()) {
    report_ = task_report_from_json(workbench_.stageState(stage_key));
    const QString folder = QString::fromStdString(model->path.string());
    for (const QString& place : {QString::fromStdString(report_.file),
                                 QDir(folder).filePath(QStringLiteral("tasks.jsonl")),
                                 QDir(demoModelPath()).filePath(QStringLiteral("tasks.jsonl"))})
      if (file_->text().isEmpty() && !place.isEmpty() && QFileInfo(place).isFile())
        setFile(place);
    if (!report_.kind.empty()) {
      setKind(QString::fromStdString(report_.kind));
      shots_->setValue(int(std::clamp<std::int64_t>(report_.shots, 0, 64)));
      chat_->setChecked(report_.chat);
    }
  }
  refresh();
}

void TasksPage::setFile(const QString& path) {
  file_->setText(path);
  file_->setToolTip(path);
  refreshButtons();
}

void TasksPage::setKind(const QString& id) {
  kind_->setCurrentIndex(std::max(0, kind_->findData(id)));
}

void TasksPage::setShots(int shots) { shots_->setValue(shots); }

void TasksPage::refreshButtons() {
  const auto& model = workbench_.checkpoint();
  run_->setEnabled(model && model->spec && model->tokenizer && !running_ &&
                   !file_->text().isEmpty());
  stop_->setVisible(running_);
  bar_->setVisible(running_);
  if (!running_)
    bar_->setValue(0);
  const TaskKind* kind = find_task_kind(kind_->currentData().toString().toStdString());
  const bool templates = model && seems_to_have_chat_template(*model);
  chat_->setEnabled(kind && kind->generates && templates && !running_);
  chat_->setToolTip(!kind || !kind->generates
                        ? tr("This kind compares likelihoods: nothing is asked as a message")
                    : !templates ? tr("The model has no chat template")
                                 : tr("Every prompt is a message in the model's chat template"));
}

void TasksPage::refresh() {
  refreshButtons();
  figures_->removeRows(0, figures_->rowCount());
  QStringList remarks;
  for (const TaskModelFigures& model : report_.models) {
    const QString title = QString::fromStdString(model.title);
    addFiguresRow(figures_, taskFigureTexts(model, report_.right_or_wrong), 1,
                  model.problem.empty() ? taskGroupsTip(model, report_.right_or_wrong)
                                        : QString::fromStdString(model.problem));
    if (!model.problem.empty())
      remarks.append(tr("Not run: %1: %2.").arg(title, QString::fromStdString(model.problem)));
    for (const std::string& note : model.notes)
      remarks.append(QString::fromStdString(note) + '.');
  }
  remarks.removeDuplicates();
  if (report_.models.empty())
    remarks = {running_ ? tr("Running\u2026")
                        : tr("Runs every item on every compared model: who gets it right, how sure "
                             "that is, and what each one said.")};
  remark_->setText(remarks.join(' '));
  remark_->setVisible(!remarks.isEmpty());
  figuresCard_->setReadout(
      report_.models.empty()
          ? QString()
          : tr("%1, %2 items of %3%4")
                    .arg(QString::fromStdString(report_.metric))
                    .arg(report_.items.size())
                    .arg(QFileInfo(QString::fromStdString(report_.file)).fileName(),
                         report_.shots > 0 ? tr(", %n shots", nullptr, int(report_.shots))
                                           : QString()) +
                (report_.chat ? tr(", as chat") : QString()));
  figuresTable_->setFixedHeight(figuresTable_->horizontalHeader()->sizeHint().height() +
                                figuresTable_->verticalHeader()->defaultSectionSize() *
                                    std::clamp(figures_->rowCount(), 1, 4) +
                                4);
  figuresTable_->resizeColumnsToContents(); // rows that come during layout do not widen it
  refreshItems();
}

QList<int> TasksPage::differences() const {
  QList<int> out;
  for (std::size_t i = 0; i < report_.items.size(); ++i) {
    const TaskModelFigures* first = nullptr;
    for (const TaskModelFigures& model : report_.models) {
      if (model.answers.size() != report_.items.size())
        continue;
      if (!first)
        first = &model;
      else if (model.answers[i].value != first->answers[i].value) {
        out.append(int(i));
        break;
      }
    }
  }
  return out;
}

void TasksPage::refreshItems() {
  items_->clear();
  QStringList heads{tr("#"), tr("Prompt")};
  for (const TaskModelFigures& model : report_.models)
    heads.append(QString::fromStdString(model.title));
  items_->setHorizontalHeaderLabels(heads);
  items_->horizontalHeaderItem(1)->setTextAlignment(Qt::AlignLeft | Qt::AlignVCenter);
  const QList<int> different = differences();
  QList<int> shown = different;
  if (!different_->isChecked()) {
    shown.clear();
    for (int i = 0; i < int(report_.items.size()); ++i)
      shown.append(i);
  }
  constexpr qsizetype most = 5000;
  for (const int i : shown.first(std::min(most, shown.size()))) {
    const TaskItem& item = report_.items[std::size_t(i)];
    QStringList texts{QString::number(i + 1), taskPromptEnd(item)};
    for (const TaskModelFigures& model : report_.models)
      texts.append(std::size_t(i) < model.answers.size()
                       ? taskMark(model.answers[std::size_t(i)], report_.right_or_wrong)
                       : QString());
    addFiguresRow(items_, texts, 2, QString::fromStdString(item.task));
    items_->item(items_->rowCount() - 1, 0)->setData(i, Qt::UserRole);
  }
  QHeaderView* header = itemsTable_->horizontalHeader();
  for (int i = 0; i < items_->columnCount(); ++i)
    header->setSectionResizeMode(i, i == 1 ? QHeaderView::Stretch : QHeaderView::ResizeToContents);
  itemsCard_->setReadout(report_.models.size() > 1
                             ? tr("%1 of %2 differ").arg(different.size()).arg(report_.items.size())
                             : QString());
  different_->setEnabled(report_.models.size() > 1);
  showItem();
}

void TasksPage::showFirstDifference() { itemsTable_->selectRow(0); }

void TasksPage::showItem() {
  const int row = itemsTable_->currentIndex().row();
  const QStandardItem* at = row >= 0 ? items_->item(row, 0) : nullptr;
  compare_->setEnabled(at != nullptr);
  if (!at) {
    said_->setHtml(QStringLiteral("<p><font color=\"%1\">%2</font></p>")
                       .arg(theme().muted.name(),
                            report_.models.empty()    ? tr("Items appear here when tasks were run.")
                            : items_->rowCount() == 0 ? tr("Models differ nowhere.")
                                                      : tr("Choose an item.")));
    return;
  }
  said_->setHtml(taskItemHtml(report_, std::size_t(at->data(Qt::UserRole).toInt())));
}

void TasksPage::offer() {
  const QStandardItem* at = items_->item(itemsTable_->currentIndex().row(), 0);
  if (!at)
    return;
  const TaskItem& item = report_.items[std::size_t(at->data(Qt::UserRole).toInt())];
  workbench_.offerPrompt(QString::fromStdString(item.prompt.substr(item.examples)));
}

// --- actions ------------------------------------------------------------------------------------

void TasksPage::run() {
  const auto contenders = workbench_.contenders();
  const TaskKind* kind = find_task_kind(kind_->currentData().toString().toStdString());
  if (contenders.isEmpty() || !kind || running_ || file_->text().isEmpty())
    return;
  std::vector<TaskModel> models;
  for (const Contender& contender : contenders)
    models.push_back({contender.title.toStdString(), contender.checkpoint});
  TaskRunOptions options;
  options.shots = shots_->value();
  options.limit = limit_->value();
  options.chat = chat_->isEnabled() && chat_->isChecked();
  running_ = true;
  report_ = {};
  refresh();
  workbench_.engine().run<TaskReport>(
      job_tag, tr("Running tasks"), this,
      [models, options, kind, file = file_->text().toStdString(),
       incoming = incoming_](Feedback& feedback, Compute& compute) -> Result<TaskReport> {
        return measure_tasks(*kind, file, models, options, compute, feedback,
                             [&](const TaskReport& now) {
                               const std::lock_guard lock(incoming->mutex);
                               incoming->report = now;
                             });
      },
      [this, model = workbench_.checkpoint()](Result<TaskReport> done) {
        if (model != workbench_.checkpoint())
          return;
        drain();
        running_ = false;
        if (done)
          report_ = std::move(*done);
        else if (!done.error().cancelled())
          Q_EMIT workbench_.message(int(LogLevel::error),
                                    QString::fromStdString(done.error().text()));
        if (!report_.models.empty())
          keep();
        refresh();
      });
}

void TasksPage::keep() {
  // Dumped and read again: what models say may be no valid UTF-8.
  workbench_.setStageState(stage_key, Json::parse(task_report_to_json(report_).dump(
                                          -1, ' ', false, OrderedJson::error_handler_t::replace)));
}

void TasksPage::drain() {
  if (!running_)
    return;
  std::optional<TaskReport> now;
  {
    const std::lock_guard lock(incoming_->mutex);
    now.swap(incoming_->report);
  }
  if (now) {
    report_ = std::move(*now);
    refresh();
  }
  if (const int share = jobProgress(workbench_.engine(), job_tag); share >= 0)
    bar_->setValue(share);
}

void TasksPage::stop() { cancelJobs(workbench_.engine(), job_tag); }

void TasksPage::askFile() {
  auto* dialog = new QFileDialog(this, tr("Choose tasks"), QFileInfo(file_->text()).absolutePath(),
                                 tr("Tasks (*.jsonl *.ndjson);;All files (*)"));
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->setFileMode(QFileDialog::ExistingFile);
  connect(dialog, &QFileDialog::fileSelected, this, &TasksPage::setFile);
  dialog->open();
}

} // namespace bitlathe::gui
