// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/evaluate/evaluate_stage.h"

#include "app/gui/attribution/attribution_page.h"
#include "app/gui/calibration/calibration_card.h"
#include "app/gui/calibration/drawn_set.h"
#include "app/gui/compare/contender_pane.h"
#include "app/gui/compare/generation_runner.h"
#include "app/gui/evaluate/checklist_view.h"
#include "app/gui/evaluate/detail_page.h"
#include "app/gui/evaluate/evidence.h"
#include "app/gui/evaluate/figure_delegate.h"
#include "app/gui/evaluate/page_parts.h"
#include "app/gui/evaluate/quality_card.h"
#include "app/gui/evaluate/speed_page.h"
#include "app/gui/evaluate/tasks_page.h"
#include "app/gui/evaluate/variants_page.h"
#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/card.h"
#include "app/gui/widgets/empty_state.h"
#include "app/gui/widgets/save_menu.h"
#include "app/gui/widgets/standing_remark.h"

#include <algorithm>
#include <QComboBox>
#include <QDragEnterEvent>
#include <QFileDialog>
#include <QFileInfo>
#include <QHeaderView>
#include <QLabel>
#include <QLineEdit>
#include <QProgressBar>
#include <QPushButton>
#include <QSpinBox>
#include <QSplitter>
#include <QStackedWidget>
#include <QTabBar>
#include <QTableView>
#include <QTabWidget>
#include <QToolButton>
#include <QVBoxLayout>

namespace bitlathe::gui {
namespace {

constexpr int row_height = 40;

} // namespace

EvaluateStage::EvaluateStage(Workbench& workbench, QWidget* parent)
    : QWidget(parent), workbench_(workbench), evidence_(Evidence::of(workbench)) {
  setAcceptDrops(true);
  pages_ = new QStackedWidget(this);
  empty_ = new EmptyState(tr("Is it worse, and by how much?"),
                          tr("Open a checkpoint to measure its perplexity on a text. Once it is "
                             "quantized, both are measured on the same tokens, with the error of "
                             "every figure."),
                          pages_);
  pages_->addWidget(empty_);
  auto* page = new QWidget(pages_);
  auto* column = new QVBoxLayout(page);
  column->setContentsMargins(space::m, space::m, space::m, space::m);
  column->setSpacing(space::s);
  banner_ = new Banner(page);
  column->addWidget(banner_);
  column->addWidget(buildControls());
  views_ = new QTabWidget(page);
  views_->setDocumentMode(true);
  views_->tabBar()->setDrawBase(false);
  views_->addTab(buildOverview(), tr("Overview"));
  views_->addTab(new DetailPage(workbench_, views_), tr("In detail"));
  views_->addTab(new VariantsPage(workbench_, views_), tr("Variants"));
  views_->addTab(new AttributionPage(workbench_, views_), tr("Which layer?"));
  views_->addTab(new SpeedPage(workbench_, views_), tr("Speed"));
  views_->addTab(new TasksPage(workbench_, views_), tr("Tasks"));
  column->addWidget(views_, 1);
  pages_->addWidget(page);
  auto* all = new QVBoxLayout(this);
  all->setContentsMargins(0, 0, 0, 0);
  all->addWidget(pages_);
  connect(&workbench_, &Workbench::opened, this, &EvaluateStage::modelOpened);
  connect(&workbench_, &Workbench::contendersChanged, this, &EvaluateStage::refresh);
  connect(&workbench_, &Workbench::compareChanged, this, &EvaluateStage::refresh);
  connect(&workbench_, &Workbench::resultsChanged, this, &EvaluateStage::refreshButtons);
  connect(&workbench_, &Workbench::recipeChanged, this, &EvaluateStage::refreshButtons);
  auto& text = EvaluationText::of(workbench_);
  connect(&text, &EvaluationText::changed, this, &EvaluateStage::showChoice);
  connect(&text, &EvaluationText::overlapsChanged, this, &EvaluateStage::showOverlaps);
  connect(evidence_, &Evidence::changed, this, &EvaluateStage::refreshChecklist);
  connect(&workbench_.engine(), &EngineThread::progressed, this, &EvaluateStage::progress);
  modelOpened();
  showOverlaps();
}

// --- building -----------------------------------------------------------------------------------

/// A page of the tabs whose cards stand below one another.
QWidget* EvaluateStage::buildOverview() {
  auto* page = new QWidget(views_);
  auto* column = new QVBoxLayout(page);
  column->setContentsMargins(0, space::s, 0, 0);
  column->setSpacing(space::s);
  column->addWidget(buildFigures());
  column->addWidget(buildCharts(), 1);
  checkCard_ = new Card(tr("Before and after"),
                        tr("Ticks itself from what was done with this checkpoint"), page);
  checklist_ = new ChecklistView(checkCard_);
  checkCard_->addBody(checklist_);
  checkCard_->setSizePolicy(QSizePolicy::Preferred, QSizePolicy::Maximum);
  column->addWidget(checkCard_);
  return page;
}

QWidget* EvaluateStage::buildControls() {
  auto* card = new QFrame(this);
  setRole(card, "card");
  auto* column = new QVBoxLayout(card);
  column->setContentsMargins(space::m, space::s, space::m, space::s);
  column->setSpacing(space::s);
  auto* row = new QHBoxLayout;
  row->setSpacing(space::xs + 2);
  const auto label = [row](const QString& text, QWidget* field, const QString& tip) {
    addLabelled(row, text, field, tip);
  };
  path_ = new QLineEdit(card);
  path_->setReadOnly(true);
  path_->setPlaceholderText(tr("Choose a text, or drop one here"));
  label(tr("Text"), path_,
        tr("Held-out text of the kind the model is for. Figures on different texts cannot be "
           "compared"));
  row->setStretchFactor(path_, 1);
  auto* open = new QPushButton(tr("Open\u2026"), card);
  open->setToolTip(tr("Chooses a plain text file in UTF-8"));
  connect(open, &QPushButton::clicked, this, &EvaluateStage::askText);
  row->addWidget(open);
  part_ = new QComboBox(card);
  part_->addItem(tr("all of it"), QString());
  for (const std::string_view name : split_names)
    part_->addItem(QString::fromUtf8(name.data(), qsizetype(name.size())),
                   QString::fromUtf8(name.data(), qsizetype(name.size())));
  connect(part_, &QComboBox::currentIndexChanged, this, [this] {
    change(
        [this](EvaluationText::Choice& choice) { choice.part = part_->currentData().toString(); });
  });
  label(tr("Part"), part_,
        tr("All of the text, or one of three parts that never meet: calibrate on the first, choose "
           "among results on the second, judge on the third"));
  row->addSpacing(space::s);
  context_ = new QSpinBox(card);
  context_->setRange(8, 1 << 20);
  context_->setSingleStep(64);
  context_->setValue(256);
  connect(context_, &QSpinBox::valueChanged, this, [this](int value) {
    change([value](EvaluationText::Choice& choice) { choice.context = value; });
  });
  label(tr("Context"), context_,
        tr("Tokens per window. The second half of every window is scored, as llama.cpp does"));
  windows_ = new QSpinBox(card);
  windows_->setRange(0, 100000);
  windows_->setSpecialValueText(tr("all"));
  windows_->setValue(32);
  connect(windows_, &QSpinBox::valueChanged, this, [this](int value) {
    change([value](EvaluationText::Choice& choice) { choice.windows = value; });
  });
  label(tr("Windows"), windows_,
        tr("How many windows of the text are measured; more windows, smaller errors"));
  row->addSpacing(space::s);
  stop_ = new QPushButton(tr("Stop"), card);
  stop_->setToolTip(tr("Stops after the current window; figures so far are kept on screen (Esc)"));
  stop_->setShortcut(QKeySequence(Qt::Key_Escape));
  connect(stop_, &QPushButton::clicked, this, &EvaluateStage::stop);
  row->addWidget(stop_);
  measure_ = new QPushButton(tr("Measure"), card);
  setRole(measure_, "primary");
  measure_->setToolTip(
      tr("Perplexity of every model and KL divergence against the original, on the "
         "same tokens (Ctrl+Return)"));
  measure_->setShortcut(QKeySequence(Qt::CTRL | Qt::Key_Return));
  connect(measure_, &QPushButton::clicked, this, &EvaluateStage::measure);
  row->addWidget(measure_);
  column->addLayout(row);
  bar_ = new QProgressBar(card);
  bar_->setTextVisible(false);
  bar_->setFixedHeight(6);
  bar_->setRange(0, 1000);
  bar_->setAccessibleName(tr("Progress of the measurement"));
  bar_->hide();
  column->addWidget(bar_);
  overlap_ = new QLabel(card);
  overlap_->setFont(smallFont());
  overlap_->setWordWrap(true);
  overlap_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  overlap_->setAccessibleName(tr("Overlap with calibration text"));
  setRole(overlap_, "warning");
  overlap_->hide();
  column->addWidget(overlap_);
  return card;
}

QWidget* EvaluateStage::buildFigures() {
  figuresCard_ = new Card(tr("Figures"),
                          tr("Every figure carries its standard error; figures of one table are "
                             "measured on the same tokens"),
                          this);
  model_ = new FiguresModel(this);
  table_ = new QTableView(figuresCard_);
  table_->setModel(model_);
  table_->setSelectionBehavior(QAbstractItemView::SelectRows);
  table_->setSelectionMode(QAbstractItemView::SingleSelection);
  table_->setEditTriggers(QAbstractItemView::NoEditTriggers);
  table_->setShowGrid(false);
  table_->setFrameShape(QFrame::NoFrame);
  table_->setFont(numberFont());
  table_->setTabKeyNavigation(false);
  table_->setAccessibleName(tr("Figures by model"));
  table_->setVerticalScrollBarPolicy(Qt::ScrollBarAsNeeded);
  table_->verticalHeader()->hide();
  table_->verticalHeader()->setDefaultSectionSize(row_height);
  table_->setItemDelegateForColumn(FiguresModel::model, new FigureDelegate(table_));
  table_->setColumnHidden(FiguresModel::verdict, true); // told under the name
  // The other pages have them; here they would take the room of the names.
  table_->setColumnHidden(FiguresModel::kl_p99, true);
  table_->setColumnHidden(FiguresModel::speed, true);
  QHeaderView* header = table_->horizontalHeader();
  header->setHighlightSections(false);
  header->setSectionResizeMode(QHeaderView::ResizeToContents);
  header->setSectionResizeMode(FiguresModel::model, QHeaderView::Stretch);
  header->setMinimumSectionSize(50);
  addTableMenu(table_, QStringLiteral("figures"));
  figuresCard_->addBody(table_);
  floor_ = makeCaption({}, figuresCard_);
  floor_->setToolTip(tr("KL divergence of the original against itself with weights rounded to "
                        "16 bits: what rounding alone does. A difference below it means nothing"));
  figuresCard_->addBody(floor_, 0);
  figuresCard_->setSizePolicy(QSizePolicy::Preferred, QSizePolicy::Maximum);
  return figuresCard_;
}

QWidget* EvaluateStage::buildCharts() {
  auto* split = new QSplitter(Qt::Horizontal, this);
  split->setChildrenCollapsible(false);
  split->setHandleWidth(space::s);
  qualityCard_ = new QualityCard(workbench_, split);
  split->addWidget(qualityCard_);

  windowCard_ = new Card(tr("By window"),
                         tr("Per window of the text: how much more surprised a model is than the "
                            "original, in nats per token. Above zero is worse"),
                         split);
  window_ = new WindowChart(windowCard_);
  window_->setAccessibleName(tr("Difference along the text"));
  auto* along = new QComboBox(windowCard_);
  along->addItems({tr("NLL difference"), tr("KL divergence")});
  along->setAccessibleName(tr("Difference measure"));
  along->setToolTip(
      tr("Mean per window: difference of negative log likelihoods, or KL divergence"));
  connect(along, &QComboBox::currentIndexChanged, this,
          [this](int index) { window_->setMeasure(WindowChart::Measure(index)); });
  windowCard_->addTool(along);
  const auto windowCsv = [this] { return window_->csv(); };
  addPictureMenu(window_, QStringLiteral("along-the-text"), windowCsv);
  windowCard_->addTool(
      makePictureButton(window_, QStringLiteral("along-the-text"), windowCsv, windowCard_));
  windowCard_->addBody(window_);
  split->addWidget(windowCard_);
  split->setSizes({1200, 800}); // the first has more tools beside its title
  return split;
}

// --- state --------------------------------------------------------------------------------------

JobStatus EvaluateStage::job() const {
  for (const JobStatus& status : workbench_.engine().jobs())
    if (status.tag == QLatin1String("compare"))
      return status;
  return {};
}

void EvaluateStage::modelOpened() {
  failedShown_ = job().id; // what failed on another model says nothing here
  banner_->clear();
  showChoice();
  refresh();
}

void EvaluateStage::showChoice() {
  const auto& choice = EvaluationText::of(workbench_).choice();
  const QSignalBlocker quiet[] = {QSignalBlocker(part_), QSignalBlocker(context_),
                                  QSignalBlocker(windows_)};
  path_->setText(choice.path);
  path_->setToolTip(choice.path);
  part_->setCurrentIndex(std::max(0, part_->findData(choice.part)));
  context_->setValue(choice.context);
  windows_->setValue(choice.windows);
  refreshButtons();
}

void EvaluateStage::change(const std::function<void(EvaluationText::Choice&)>& edit) {
  EvaluationText::Choice choice = EvaluationText::of(workbench_).choice();
  edit(choice);
  EvaluationText::of(workbench_).choose(choice);
}

void EvaluateStage::showOverlaps() {
  const QStringList& notes = EvaluationText::of(workbench_).notes();
  overlap_->setText(notes.join('\n'));
  overlap_->setVisible(!notes.isEmpty());
}

void EvaluateStage::refresh() {
  pages_->setCurrentIndex(workbench_.checkpoint() ? 1 : 0);
  refreshFigures();
  refreshButtons();
  refreshChecklist();
  const JobStatus last = job();
  if (!workbench_.comparing() && last.state == JobState::failed && last.id != failedShown_) {
    failedShown_ = last.id;
    banner_->say(2, last.error);
  }
}

void EvaluateStage::refreshFigures() {
  const CompareReport* report = workbench_.compareReport();
  QList<FigureSource> sources;
  const QList<Contender> contenders = workbench_.contenders();
  for (const Contender& contender : contenders) {
    FigureSource source;
    source.title = contender.title;
    source.problem = GenerationRunner::problemOf(contender);
    if (contender.checkpoint) {
      source.path = QString::fromStdString(contender.checkpoint->path.string());
      source.bytes = contender.checkpoint->bytes();
      source.parameters = contender.checkpoint->parameters();
    }
    sources.push_back(source);
  }
  const QList<FigureRow> rows = figureRows(sources, report);
  model_->setRows(rows);
  const int header = table_->horizontalHeader()->sizeHint().height();
  table_->setFixedHeight(header + row_height * std::clamp(int(rows.size()), 1, 4) + 4);

  QList<WindowChart::Line> lines;
  QList<bool> taken(report ? qsizetype(report->models.size()) : 0, false);
  for (int i = 1; report && i < rows.size(); ++i)
    for (qsizetype m = 0; m < taken.size(); ++m) {
      const CompareResult& model = report->models[std::size_t(m)];
      if (taken[m] || QString::fromStdString(model.path) != rows[i].path)
        continue;
      taken[m] = true;
      WindowChart::Line line;
      line.title = rows[i].title;
      line.contender = i;
      const std::size_t count =
          std::min(model.window_nll.size(), report->reference_window_nll.size());
      for (std::size_t w = 0; w < count; ++w)
        line.nll.push_back(model.window_nll[w] - report->reference_window_nll[w]);
      line.kl = QList<double>(model.window_kld.begin(), model.window_kld.end());
      lines.push_back(line);
      break;
    }
  window_->setLines(lines);

  if (!report) {
    figuresCard_->setReadout({});
    floor_->setText(contenders.size() > 1
                        ? tr("Press Measure to run all models on the same tokens.")
                        : tr("Only the original is here: quantize it, or add a checkpoint in "
                             "Compare, to measure a difference."));
    return;
  }
  const qint64 tokens = report->models.empty() ? 0 : report->models.front().tokens;
  figuresCard_->setReadout(
      tokens > 0 ? tr("%1 tokens scored in %2 windows%3")
                       .arg(formatGrouped(tokens))
                       .arg(report->reference_window_nll.size())
                       .arg(workbench_.comparing() ? tr(", still running") : QString())
                 : QString());
  QString text = tr("Noise floor: KL %1 (the original against itself with weights rounded to 16 "
                    "bits).")
                     .arg(formatNumber(report->noise_floor, 3));
  for (qsizetype i = 1; i < rows.size(); ++i)
    if (rows[i].measured && rows[i].verdict.standing == Standing::same)
      text += tr(" %1 is within it: not distinguishable.").arg(rows[i].title);
    else if (rows[i].measured && std::abs(rows[i].ratio - 1) <= 2 * rows[i].ratioError)
      text +=
          tr(" The perplexity difference of %1 is within two standard errors.").arg(rows[i].title);
  for (const std::string& note : report->notes)
    text += QStringLiteral(" ") + QString::fromStdString(note) + QStringLiteral(".");
  for (const CompareResult& model : report->models)
    for (const std::string& note : model.notes)
      text += QStringLiteral(" ") + QString::fromStdString(note) + QStringLiteral(".");
  floor_->setText(text);
}

void EvaluateStage::refreshButtons() {
  const bool busy = workbench_.comparing() || reading_;
  const bool able = workbench_.checkpoint() && workbench_.checkpoint()->spec &&
                    workbench_.checkpoint()->tokenizer && !textPath().isEmpty();
  measure_->setEnabled(able && !busy);
  stop_->setVisible(busy);
  bar_->setVisible(busy);
  if (!busy)
    bar_->setValue(0);
  const auto& model = workbench_.checkpoint();
  const QString problem = model ? GenerationRunner::problemOf({{}, model}) : QString();
  if (!problem.isEmpty())
    keepSaying(*banner_, true, 1, problem);
  keepSaying(*banner_, workbench_.resultStale(), 1,
             tr("The recipe changed since the quantized model was made; figures are of the old "
                "one. Quantize again to measure what the recipe says now."));
}

void EvaluateStage::refreshChecklist() {
  checklist_->set(checklist(evidence_->collect()));
  checkCard_->setReadout(tr("%1 of %2").arg(checklist_->doneCount()).arg(checklist_->count()));
}

void EvaluateStage::progress() {
  if (!workbench_.comparing() || !isVisible())
    return;
  const JobStatus status = job();
  if (status.total > 0)
    bar_->setValue(int(1000.0 * double(status.done) / double(status.total)));
}

// --- actions ------------------------------------------------------------------------------------

void EvaluateStage::setText(const QString& path) {
  change([&](EvaluationText::Choice& choice) { choice.path = path; });
}

QString EvaluateStage::textPath() const { return EvaluationText::of(workbench_).choice().path; }
void EvaluateStage::setWindows(int windows) { windows_->setValue(windows); }
void EvaluateStage::setContext(int context) { context_->setValue(context); }

void EvaluateStage::measure() {
  if (!workbench_.checkpoint() || textPath().isEmpty() || workbench_.comparing() || reading_)
    return;
  banner_->clear();
  reading_ = true;
  refreshButtons();
  EvaluationText::of(workbench_)
      .read(QStringLiteral("compare"), this, [this](Result<EvaluationText::Judged> judged) {
        reading_ = false;
        if (judged)
          workbench_.startCompare(*judged);
        else if (!judged.error().cancelled())
          banner_->say(2, QString::fromStdString(judged.error().text()));
        refreshButtons();
      });
}

void EvaluateStage::stop() {
  if (const JobStatus status = job(); status.id)
    workbench_.engine().cancel(status.id);
}

void EvaluateStage::askText() {
  auto* dialog = new QFileDialog(this, tr("Choose a text"), QFileInfo(textPath()).absolutePath(),
                                 tr("Texts (*.txt *.raw *.md *.jsonl);;All files (*)"));
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->setFileMode(QFileDialog::ExistingFile);
  connect(dialog, &QFileDialog::fileSelected, this, &EvaluateStage::setText);
  dialog->open();
}

void EvaluateStage::dragEnterEvent(QDragEnterEvent* event) {
  if (workbench_.checkpoint() && textsDragged(event->mimeData()).size() == 1)
    event->acceptProposedAction();
}

void EvaluateStage::dropEvent(QDropEvent* event) {
  setText(textsDragged(event->mimeData()).value(0));
  event->acceptProposedAction();
}

} // namespace bitlathe::gui
