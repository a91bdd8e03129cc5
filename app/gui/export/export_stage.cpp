// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/export/export_stage.h"

#include "app/gui/export/export_target.h"
#include "app/gui/export/exports_card.h"
#include "app/gui/export/findings_html.h"
#include "app/gui/export/format_delegate.h"
#include "app/gui/export/use_card.h"
#include "app/gui/format.h"
#include "app/gui/report/report_card.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/card.h"
#include "app/gui/widgets/empty_state.h"
#include "app/gui/widgets/save_menu.h"
#include "app/gui/widgets/standing_remark.h"

#include <algorithm>
#include <QComboBox>
#include <QDir>
#include <QFileInfo>
#include <QHeaderView>
#include <QLabel>
#include <QMessageBox>
#include <QPushButton>
#include <QSplitter>
#include <QStackedWidget>
#include <QStandardPaths>
#include <QTableView>
#include <QTextBrowser>
#include <QTimer>
#include <QVBoxLayout>

namespace bitlathe::gui {
namespace {

constexpr int row_height = 25;

bool anythingPlanned(const Plan& plan) {
  return std::any_of(plan.modules.begin(), plan.modules.end(),
                     [](const PlannedModule& m) { return m.quantize || m.convert; });
}

/// The warnings that stand, word by word: accepting holds for these and no others.
QString standing(const FormatRow& row, const QString& runtime) {
  QString out;
  for (const Finding& finding :
       blocking_findings(row.report.findings, runtime.toStdString(), false))
    out += QString::fromStdString(finding_text(finding)) + '\n';
  return out;
}

} // namespace

ExportStage::ExportStage(Workbench& workbench, QWidget* parent)
    : QWidget(parent), workbench_(workbench) {
  formats_ = new FormatsModel(this);
  examine_ = new QTimer(this);
  examine_->setSingleShot(true);
  connect(examine_, &QTimer::timeout, this, &ExportStage::examine);

  pages_ = new QStackedWidget(this);
  pages_->addWidget(new EmptyState(
      tr("Nothing to export yet"),
      tr("Open a checkpoint and quantize it. Here you then choose the format: each one tells what "
         "it can hold before a byte is written, and is opened again and compared afterwards."),
      pages_));
  auto* page = new QWidget(pages_);
  auto* column = new QVBoxLayout(page);
  column->setContentsMargins(space::m, space::m, space::m, space::m);
  column->setSpacing(space::s);
  banner_ = new Banner(page);
  column->addWidget(banner_);
  auto* split = new QSplitter(Qt::Vertical, page);
  split->setChildrenCollapsible(false);
  split->setHandleWidth(space::s);
  split->addWidget(buildMatrix());
  auto* middle = new QSplitter(Qt::Horizontal, split);
  middle->setChildrenCollapsible(false);
  middle->setHandleWidth(space::s);
  middle->addWidget(buildDetail());
  use_ = new UseCard(middle);
  middle->addWidget(use_);
  middle->setStretchFactor(0, 3);
  middle->setStretchFactor(1, 2);
  split->addWidget(middle);
  exports_ = new ExportsCard(workbench_, split);
  split->addWidget(exports_);
  split->setStretchFactor(0, 5);
  split->setStretchFactor(1, 5);
  split->setStretchFactor(2, 4);
  column->addWidget(split, 1);
  column->addWidget(new ReportCard(workbench_, page));
  pages_->addWidget(page);
  auto* all = new QVBoxLayout(this);
  all->setContentsMargins(0, 0, 0, 0);
  all->addWidget(pages_);

  connect(matrix_->selectionModel(), &QItemSelectionModel::currentRowChanged, this,
          &ExportStage::refreshDetail);
  if (formats_->rowCount() > 0)
    matrix_->selectRow(0);
  connect(&workbench_, &Workbench::planChanged, this, &ExportStage::refresh);
  connect(&workbench_, &Workbench::resultsChanged, this, &ExportStage::refresh);
  connect(&workbench_, &Workbench::opened, this, [this] {
    folders_.clear();
    accepted_.clear();
    exporting_ = false;
    banner_->clear();
    refresh();
  });
  connect(&workbench_, &Workbench::exportFinished, this, &ExportStage::finished);
  connect(&workbench_.engine(), &EngineThread::progressed, this, &ExportStage::progress);
  connect(&Theme::instance(), &Theme::changed, this, &ExportStage::refreshDetail);
  refresh();
}

QWidget* ExportStage::buildMatrix() {
  matrixCard_ = new Card(tr("Formats"),
                         tr("Every format against what would be exported: what it holds, what it "
                            "falls back to, what it refuses, and how large it gets"),
                         this);
  subject_choice_ = new QComboBox(matrixCard_);
  subject_choice_->setFont(smallFont());
  subject_choice_->addItem(tr("the kept result"));
  subject_choice_->addItem(tr("the plan"));
  subject_choice_->setToolTip(
      tr("The result that was made, or what the plan says now, which can be "
         "foreseen but not written"));
  subject_choice_->setAccessibleName(tr("What the matrix is about"));
  connect(subject_choice_, &QComboBox::currentIndexChanged, this, &ExportStage::refresh);
  matrixCard_->addTool(subject_choice_);
  auto* meant = new QLabel(tr("meant for"), matrixCard_);
  meant->setFont(smallFont());
  setRole(meant, "muted");
  matrixCard_->addTool(meant);
  runtime_ = new QComboBox(matrixCard_);
  runtime_->setFont(smallFont());
  runtime_->addItem(tr("any reader"), QString());
  for (const std::string& id : known_runtimes())
    runtime_->addItem(runtimeTitle(QString::fromStdString(id)), QString::fromStdString(id));
  runtime_->setToolTip(tr("What one program stumbles over is a remark, until the export is meant "
                          "for this program: then it stops the export"));
  runtime_->setAccessibleName(tr("Program the export is meant for"));
  meant->setBuddy(runtime_);
  meant->setToolTip(runtime_->toolTip());
  connect(runtime_, &QComboBox::currentIndexChanged, this, [this] {
    use_->prefer(runtime());
    refresh();
  });
  matrixCard_->addTool(runtime_);

  matrix_ = new QTableView(matrixCard_);
  matrix_->setModel(formats_);
  matrix_->setSelectionBehavior(QAbstractItemView::SelectRows);
  matrix_->setSelectionMode(QAbstractItemView::SingleSelection);
  matrix_->setEditTriggers(QAbstractItemView::NoEditTriggers);
  matrix_->setShowGrid(false);
  matrix_->setWordWrap(false);
  matrix_->setTabKeyNavigation(false);
  matrix_->setAccessibleName(tr("Export formats"));
  matrix_->verticalHeader()->hide();
  matrix_->verticalHeader()->setDefaultSectionSize(row_height);
  matrix_->setItemDelegateForColumn(FormatsModel::holds, new HoldsDelegate(matrix_));
  QHeaderView* header = matrix_->horizontalHeader();
  header->setHighlightSections(false);
  const int widths[FormatsModel::column_count] = {130, 124, 88, 158, 70, 78, 0};
  for (int at = 0; at < FormatsModel::column_count; ++at)
    if (widths[at] > 0)
      header->resizeSection(at, widths[at]);
  header->setSectionResizeMode(FormatsModel::readers, QHeaderView::Stretch);
  matrix_->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  // Every format at a glance.
  matrix_->setMinimumHeight(header->sizeHint().height() + formats_->rowCount() * row_height +
                            2 * matrix_->frameWidth());
  addTableMenu(matrix_, QStringLiteral("formats"));
  matrixCard_->addBody(matrix_);
  return matrixCard_;
}

QWidget* ExportStage::buildDetail() {
  detailCard_ = new Card({}, tr("What this format is, and what it says about this model"), this);
  adopt_ = new QPushButton(tr("Plan for this format"), detailCard_);
  adopt_->setFont(smallFont());
  adopt_->setToolTip(tr("Puts what this format falls back to into the recipe as rules, so that the "
                        "next result fits; can be undone"));
  connect(adopt_, &QPushButton::clicked, this, &ExportStage::adoptFallbacks);
  detailCard_->addTool(adopt_);
  summary_ = makeCaption({}, detailCard_);
  detailCard_->addBody(summary_, 0);
  subject_ = new QLabel(detailCard_);
  subject_->setFont(smallFont());
  subject_->setWordWrap(true);
  detailCard_->addBody(subject_, 0);
  findings_ = makeBrowser(tr("Findings"), detailCard_);
  findings_->setToolTip(tr("Found before a byte is written. Red stops the export, amber does until "
                           "it is accepted, the rest is for information"));
  detailCard_->addBody(findings_, 1);
  target_ = new ExportTarget(detailCard_);
  connect(target_, &ExportTarget::folderEdited, this, [this](const QString& folder) {
    folders_[chosenFormat()] = folder;
    refreshButton();
    refreshUse();
    examine_->start(400); // the space on that disk
  });
  connect(target_, &ExportTarget::shardLimitChanged, this, &ExportStage::refresh);
  connect(target_, &ExportTarget::acceptedChanged, this, &ExportStage::acceptWarnings);
  connect(target_, &ExportTarget::exportWanted, this, &ExportStage::exportNow);
  connect(target_, &ExportTarget::cancelWanted, this,
          [this] { workbench_.engine().cancel(job().id); });
  detailCard_->addBody(target_, 0);
  return detailCard_;
}

// --- what is exported ---------------------------------------------------------------------------

ExportStage::Subject ExportStage::subject() const {
  if (!workbench_.checkpoint())
    return Subject::none;
  const bool planned = workbench_.plan() && anythingPlanned(*workbench_.plan());
  if (workbench_.quantized())
    return planned && subject_choice_->currentIndex() == 1 ? Subject::plan : Subject::result;
  return planned ? Subject::plan : Subject::original;
}

QString ExportStage::chosenFormat() const {
  return matrix_->currentIndex().data(FormatsModel::IdRole).toString();
}

const FormatRow* ExportStage::chosen() const {
  const int row = matrix_->currentIndex().row();
  return row >= 0 && row < formats_->rows().size() ? &formats_->rows()[row] : nullptr;
}

void ExportStage::chooseFormat(const QString& id) {
  if (const int row = formats_->rowOf(id); row >= 0)
    matrix_->selectRow(row);
}

void ExportStage::chooseRuntime(const QString& runtime) {
  runtime_->setCurrentIndex(std::max(0, runtime_->findData(runtime)));
}

QString ExportStage::runtime() const { return runtime_->currentData().toString(); }
QString ExportStage::folder() const { return target_->folder(); }
const ExportsModel& ExportStage::exports() const { return exports_->exports(); }

void ExportStage::setFolder(const QString& folder) {
  folders_[chosenFormat()] = folder;
  target_->setFolder(folder);
  refreshButton();
  refreshUse();
}

QString ExportStage::defaultFolder(const QString& format) const {
  if (!workbench_.checkpoint())
    return {};
  QString base = QStandardPaths::writableLocation(QStandardPaths::DocumentsLocation);
  if (base.isEmpty() || !QFileInfo(base).isDir())
    base = QDir::homePath();
  QString name = QString::fromStdString(workbench_.checkpoint()->name);
  if (subject() == Subject::result || subject() == Subject::plan)
    name += QLatin1Char('-') + QString::fromStdString(workbench_.recipe().default_scheme);
  return QDir(base).filePath(QStringLiteral("bitlathe/%1-%2").arg(name, format));
}

QString ExportStage::folderOf(const QString& format) const {
  return folders_.value(format, defaultFolder(format));
}

JobStatus ExportStage::job() const {
  for (const JobStatus& status : workbench_.engine().jobs())
    if (status.tag == QLatin1String("export"))
      return status;
  return {};
}

QString ExportStage::whyNot() const {
  const FormatRow* row = chosen();
  if (!row || subject() == Subject::none)
    return tr("Open a checkpoint first");
  if (workbench_.quantizing())
    return tr("A result is being made");
  if (subject() == Subject::plan)
    return workbench_.quantized() ? tr("This is foreseen from the plan: quantize again to write it")
                                  : tr("Quantize first: there is no result yet");
  if (examining_)
    return tr("The format is being examined");
  if (row->state == FormatState::refuses)
    return tr("Nothing is written while a red finding stands");
  if (row->state == FormatState::warned && !target_->accepted())
    return tr("Accept the warnings first");
  if (folder().isEmpty())
    return tr("Choose a folder first");
  return {};
}

bool ExportStage::canExport() const { return !exporting_ && whyNot().isEmpty(); }

// --- showing ------------------------------------------------------------------------------------

void ExportStage::refresh() {
  pages_->setCurrentIndex(workbench_.checkpoint() ? 1 : 0);
  const bool planned = workbench_.plan() && anythingPlanned(*workbench_.plan());
  subject_choice_->setVisible(workbench_.quantized() && planned);
  keepSaying(*banner_, workbench_.resultStale() && subject() == Subject::result, 1,
             tr("The recipe changed since this result was made: an export holds the old result."));
  examining_ = workbench_.checkpoint() != nullptr;
  if (examining_)
    examine_->start(50); // the plan may change with every key
  else
    formats_->forget();
  refreshDetail();
}

void ExportStage::examine() {
  FormatQuestion question;
  switch (subject()) {
  case Subject::none:
    return;
  case Subject::result:
    question.model = workbench_.quantized();
    break;
  case Subject::plan:
    question.model = workbench_.checkpoint();
    question.plan = std::make_shared<const Plan>(*workbench_.plan());
    break;
  case Subject::original:
    question.model = workbench_.checkpoint();
    break;
  }
  for (const FormatRow& row : formats_->rows())
    question.folders[row.id] = folderOf(row.id);
  question.options.name = workbench_.checkpoint()->name;
  question.options.runtime = runtime().toStdString();
  question.options.shard_limit = target_->shardLimit();
  if (subject() == Subject::result)
    question.result = workbench_.resultFolder();
  examining_ = true;
  workbench_.engine().run<QList<FormatReport>>(
      QStringLiteral("examine-formats"), tr("Examining formats"), this,
      [question](Feedback& feedback, Compute&) { return examineFormats(question, feedback); },
      [this, asked = ++asked_](Result<QList<FormatReport>> reports) {
        if (reports)
          examined(*reports);
        else if (asked == asked_ && workbench_.checkpoint())
          examine_->start(500); // cancelled together with everything else
      },
      false);
}

void ExportStage::examined(const QList<FormatReport>& reports) {
  if (examine_->isActive())
    return; // something changed meanwhile: the next reports are on their way
  examining_ = false;
  formats_->setReports(reports, runtime());
  int fit = 0;
  for (const FormatRow& row : formats_->rows())
    fit += row.state == FormatState::fits || row.state == FormatState::warned;
  matrixCard_->setReadout(tr("%1 of %2 can be written").arg(fit).arg(formats_->rowCount()));
  refreshDetail();
  if (first_root_.isEmpty())
    return;
  const QString root = std::exchange(first_root_, {});
  for (const FormatRow& row : formats_->rows())
    if (row.state == FormatState::fits) {
      chooseFormat(row.id);
      setFolder(root + '/' + row.id);
      exportNow();
      return;
    }
}

void ExportStage::refreshDetail() {
  const FormatRow* format = chosen();
  if (!format)
    return;
  detailCard_->setTitle(format->title);
  summary_->setText(format->summary);
  findings_->setHtml(findingsHtml(*format, runtime()));
  adopt_->setVisible(subject() == Subject::plan && !format->report.fallbacks.empty());
  QString text;
  switch (subject()) {
  case Subject::none:
    break;
  case Subject::result:
    text = tr("Exports the kept result.");
    break;
  case Subject::plan:
    text = workbench_.quantized() ? tr("Foreseen from the plan: quantize again to write it.")
                                  : tr("Foreseen from the plan: quantize first, then export.");
    break;
  case Subject::original:
    text = tr("Nothing is planned to be quantized: exports the checkpoint as it is.");
    break;
  }
  if (format->report.bytes > 0)
    text += ' ' + tr("%1 bytes in %n files.", nullptr, int(format->report.files.size()))
                      .arg(formatGrouped(std::int64_t(format->report.bytes)));
  subject_->setText(text);
  target_->setFolder(folderOf(format->id));
  const bool warned = format->state == FormatState::warned;
  target_->setWarnings(warned ? format->warnings : 0);
  {
    const QSignalBlocker quiet(target_);
    target_->setAccepted(warned && accepted_.value(format->id) == standing(*format, runtime()));
  }
  refreshButton();
  refreshUse();
}

void ExportStage::acceptWarnings(bool on) {
  if (const FormatRow* format = chosen()) {
    if (on)
      accepted_[format->id] = standing(*format, runtime());
    else
      accepted_.remove(format->id);
    const QSignalBlocker quiet(target_);
    target_->setAccepted(on);
  }
  refreshButton();
}

void ExportStage::refreshButton() { target_->setState(canExport(), exporting_, whyNot()); }

void ExportStage::refreshUse() {
  const FormatRow* format = chosen();
  if (!format)
    return;
  // The last export of this format into this folder, else what it would be.
  const QString folder = QDir::cleanPath(this->folder());
  QString path;
  for (const ExportOutcome& outcome : workbench_.exports()) {
    const QString written = QString::fromStdString(outcome.path.string());
    if (QDir::cleanPath(written) == folder || QFileInfo(written).absolutePath() == folder)
      path = written;
  }
  const bool written = !path.isEmpty();
  if (!written)
    path = QDir::cleanPath(folder + '/' + format->report.checkpoint());
  const auto& model = workbench_.checkpoint();
  use_->show(find_exporter(format->id.toStdString()), path,
             model ? QString::fromStdString(model->name) : QString(), written);
}

void ExportStage::progress() {
  if (exporting_ && isVisible())
    target_->showProgress(job());
}

// --- doing --------------------------------------------------------------------------------------

void ExportStage::exportFirst(const QString& root) {
  first_root_ = root;
  refresh();
}

void ExportStage::exportNow() {
  if (!canExport())
    return;
  if (!target_->folderTaken())
    return start(false);
  auto* question =
      new QMessageBox(QMessageBox::Warning, tr("Replace"),
                      tr("Replace what is in %1?").arg(folder()), QMessageBox::Cancel, this);
  question->setInformativeText(tr("The folder is not empty. What it holds is replaced once the new "
                                  "export is written and checked."));
  question->addButton(tr("Replace"), QMessageBox::DestructiveRole);
  question->setAttribute(Qt::WA_DeleteOnClose);
  connect(question, &QMessageBox::buttonClicked, this, [this, question](QAbstractButton* button) {
    if (question->buttonRole(button) == QMessageBox::DestructiveRole)
      start(true);
  });
  question->open();
}

void ExportStage::start(bool replace) {
  exporting_ = true;
  banner_->clear();
  refreshButton();
  Workbench::ExportWish wish;
  wish.replace = replace;
  wish.accept_warnings = target_->accepted();
  wish.runtime = runtime();
  wish.shard_limit = target_->shardLimit();
  workbench_.startExport(chosenFormat(), folder(), wish);
}

void ExportStage::finished(const QString& path, const QString& error) {
  exporting_ = false;
  if (error.isEmpty()) {
    exports_->verify(path);
  } else {
    if (job().state == JobState::cancelled)
      banner_->say(0, tr("The export was cancelled; nothing was left behind."));
    else
      banner_->say(2, tr("The export failed: %1").arg(error));
  }
  exports_->refresh();
  refreshButton();
  refreshUse();
}

void ExportStage::adoptFallbacks() {
  const FormatRow* format = chosen();
  if (!format || format->report.fallbacks.empty())
    return;
  workbench_.setRecipe(withFallbacks(workbench_.recipe(), format->report.fallbacks),
                       tr("Plan for %1").arg(format->title));
}

} // namespace bitlathe::gui
