// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/export/export_stage.h"

#include "app/gui/evaluate/evidence.h"
#include "app/gui/export/findings_html.h"
#include "app/gui/export/format_delegate.h"
#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/card.h"
#include "app/gui/widgets/empty_state.h"
#include "app/gui/widgets/save_menu.h"
#include "app/gui/widgets/standing_remark.h"

#include <algorithm>
#include <QDesktopServices>
#include <QDir>
#include <QFileDialog>
#include <QHeaderView>
#include <QLabel>
#include <QLineEdit>
#include <QListView>
#include <QMessageBox>
#include <QProgressBar>
#include <QPushButton>
#include <QSplitter>
#include <QStackedWidget>
#include <QStandardPaths>
#include <QTableView>
#include <QTextBrowser>
#include <QTextDocument>
#include <QTimer>
#include <QUrl>
#include <QVBoxLayout>

namespace bitlathe::gui {
namespace {

QTextBrowser* makeBrowser(const QString& name, QWidget* parent) {
  auto* browser = new QTextBrowser(parent);
  browser->setFrameShape(QFrame::NoFrame);
  browser->setStyleSheet(QStringLiteral("QTextBrowser { border: none; padding: 0; }"));
  browser->setAccessibleName(name);
  browser->setOpenLinks(false);
  browser->document()->setDocumentMargin(2);
  return browser;
}

bool anythingPlanned(const Plan& plan) {
  return std::any_of(plan.modules.begin(), plan.modules.end(),
                     [](const PlannedModule& m) { return m.quantize || m.convert; });
}

} // namespace

ExportStage::ExportStage(Workbench& workbench, QWidget* parent)
    : QWidget(parent), workbench_(workbench), evidence_(Evidence::of(workbench)) {
  formats_ = new FormatsModel(this);
  exports_ = new ExportsModel(this);
  examine_ = new QTimer(this);
  examine_->setSingleShot(true);
  connect(examine_, &QTimer::timeout, this, &ExportStage::refresh);

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
  auto* upper = new QWidget(split);
  auto* row = new QHBoxLayout(upper);
  row->setContentsMargins(0, 0, 0, 0);
  row->setSpacing(space::s);
  list_ = new QListView(upper);
  list_->setModel(formats_);
  list_->setItemDelegate(new FormatDelegate(list_));
  list_->setFrameShape(QFrame::NoFrame);
  list_->setMouseTracking(true);
  list_->setFixedWidth(236);
  list_->setVerticalScrollMode(QAbstractItemView::ScrollPerPixel);
  list_->setStyleSheet(QStringLiteral("QListView { background: transparent; border: none; }"));
  list_->setAccessibleName(tr("Export formats"));
  row->addWidget(list_);
  row->addWidget(buildDetail(), 1);
  split->addWidget(upper);
  split->addWidget(buildExports());
  split->setStretchFactor(0, 3);
  split->setStretchFactor(1, 2);
  column->addWidget(split, 1);
  pages_->addWidget(page);
  auto* all = new QVBoxLayout(this);
  all->setContentsMargins(0, 0, 0, 0);
  all->addWidget(pages_);

  connect(list_->selectionModel(), &QItemSelectionModel::currentChanged, this,
          &ExportStage::refreshDetail);
  if (formats_->rowCount() > 0)
    list_->setCurrentIndex(formats_->index(0));
  // The plan may change with every key: examine once things are quiet.
  connect(&workbench_, &Workbench::planChanged, this, [this] { examine_->start(50); });
  connect(&workbench_, &Workbench::resultsChanged, this, &ExportStage::refresh);
  connect(&workbench_, &Workbench::opened, this, [this] {
    folders_.clear();
    verifying_.clear();
    exporting_ = false;
    banner_->clear();
    refresh();
  });
  connect(&workbench_, &Workbench::exportFinished, this, &ExportStage::finished);
  connect(&workbench_.engine(), &EngineThread::progressed, this, &ExportStage::progress);
  connect(evidence_, &Evidence::changed, this, &ExportStage::refreshExports);
  connect(&Theme::instance(), &Theme::changed, this, [this] {
    refreshDetail();
    refreshExports();
  });
  refresh();
}

QWidget* ExportStage::buildDetail() {
  detailCard_ = new Card({}, tr("What this format is, and what it says about this result"), this);
  summary_ = makeCaption({}, detailCard_);
  detailCard_->addBody(summary_, 0);
  subject_ = new QLabel(detailCard_);
  subject_->setWordWrap(true);
  detailCard_->addBody(subject_, 0);
  findings_ = makeBrowser(tr("Findings"), detailCard_);
  findings_->setToolTip(tr("Found before a byte is written. Red stops the export, amber is worth "
                           "reading, the rest is for information"));
  detailCard_->addBody(findings_, 1);
  detailCard_->addBody(buildTarget(), 0);

  running_ = new QWidget(detailCard_);
  auto* line = new QHBoxLayout(running_);
  line->setContentsMargins(0, 0, 0, 0);
  bar_ = new QProgressBar(running_);
  bar_->setTextVisible(false);
  bar_->setFixedHeight(6);
  bar_->setRange(0, 1000);
  bar_->setAccessibleName(tr("Progress of the export"));
  line->addWidget(bar_, 1);
  progress_ = makeCaption({}, running_);
  progress_->setWordWrap(false);
  line->addWidget(progress_);
  detailCard_->addBody(running_, 0);
  return detailCard_;
}

QWidget* ExportStage::buildTarget() {
  auto* target = new QWidget(detailCard_);
  auto* row = new QHBoxLayout(target);
  row->setContentsMargins(0, 0, 0, 0);
  row->setSpacing(space::xs + 2);
  auto* label = new QLabel(tr("Folder"), target);
  label->setFont(smallFont());
  setRole(label, "muted");
  row->addWidget(label);
  folder_ = new QLineEdit(target);
  folder_->setAccessibleName(tr("Target folder"));
  folder_->setToolTip(tr("Where the export is written; made when it is not there"));
  label->setBuddy(folder_);
  connect(folder_, &QLineEdit::textEdited, this, [this](const QString& text) {
    folders_[chosenFormat()] = text;
    refreshButton();
  });
  row->addWidget(folder_, 1);
  auto* browse = new QPushButton(tr("Browse\u2026"), target);
  browse->setToolTip(tr("Chooses the folder"));
  connect(browse, &QPushButton::clicked, this, &ExportStage::askFolder);
  row->addWidget(browse);
  export_ = new QPushButton(tr("Export"), target);
  setRole(export_, "primary");
  export_->setMinimumWidth(96);
  connect(export_, &QPushButton::clicked, this, &ExportStage::exportNow);
  row->addWidget(export_);
  cancel_ = new QPushButton(tr("Cancel"), target);
  cancel_->setToolTip(tr("Stops the export; nothing half-written stays (Esc)"));
  cancel_->setShortcut(QKeySequence(Qt::Key_Escape));
  connect(cancel_, &QPushButton::clicked, this, [this] { workbench_.engine().cancel(job().id); });
  row->addWidget(cancel_);
  return target;
}

QWidget* ExportStage::buildExports() {
  exportsCard_ =
      new Card(tr("Exports"), tr("What was written from this window, newest first"), this);
  again_ = new QPushButton(tr("Verify again"), exportsCard_);
  again_->setToolTip(tr("Opens the selected export once more and compares every tensor"));
  connect(again_, &QPushButton::clicked, this, [this] {
    if (const QModelIndex at = table_->currentIndex(); at.isValid())
      verify(exports_->rows()[at.row()].path);
  });
  exportsCard_->addTool(again_);
  open_ = new QPushButton(tr("Open folder"), exportsCard_);
  open_->setToolTip(tr("Shows the selected export in the file manager"));
  connect(open_, &QPushButton::clicked, this, &ExportStage::openSelected);
  exportsCard_->addTool(open_);

  auto* split = new QSplitter(Qt::Horizontal, exportsCard_);
  split->setChildrenCollapsible(false);
  split->setHandleWidth(space::m);
  table_ = new QTableView(split);
  table_->setModel(exports_);
  table_->setSelectionBehavior(QAbstractItemView::SelectRows);
  table_->setSelectionMode(QAbstractItemView::SingleSelection);
  table_->setEditTriggers(QAbstractItemView::NoEditTriggers);
  table_->setShowGrid(false);
  table_->setFrameShape(QFrame::NoFrame);
  table_->setTabKeyNavigation(false);
  table_->setTextElideMode(Qt::ElideMiddle);
  table_->setWordWrap(false);
  table_->setAccessibleName(tr("Finished exports"));
  table_->verticalHeader()->hide();
  table_->verticalHeader()->setDefaultSectionSize(26);
  QHeaderView* header = table_->horizontalHeader();
  header->setHighlightSections(false);
  header->setStretchLastSection(true);
  header->resizeSection(ExportsModel::name, 190);
  header->resizeSection(ExportsModel::size, 80);
  header->resizeSection(ExportsModel::verification, 140);
  addTableMenu(table_, QStringLiteral("exports"));
  connect(table_, &QTableView::doubleClicked, this, &ExportStage::openSelected);
  connect(table_->selectionModel(), &QItemSelectionModel::currentRowChanged, this,
          &ExportStage::refreshExports, Qt::QueuedConnection);
  split->addWidget(table_);
  checks_ = makeBrowser(tr("Verification"), split);
  checks_->setToolTip(tr("What was checked after the export was opened again"));
  split->addWidget(checks_);
  split->setStretchFactor(0, 3);
  split->setStretchFactor(1, 2);
  exportsCard_->addBody(split);
  return exportsCard_;
}

// --- what is exported ---------------------------------------------------------------------------

ExportStage::Subject ExportStage::subject() const {
  if (!workbench_.checkpoint())
    return Subject::none;
  if (workbench_.quantized())
    return Subject::result;
  if (workbench_.plan() && anythingPlanned(*workbench_.plan()))
    return Subject::plan;
  return Subject::original;
}

QString ExportStage::chosenFormat() const {
  return list_->currentIndex().data(FormatsModel::IdRole).toString();
}

void ExportStage::chooseFormat(const QString& id) {
  if (const int row = formats_->rowOf(id); row >= 0)
    list_->setCurrentIndex(formats_->index(row));
}

QString ExportStage::folder() const { return folder_->text(); }

void ExportStage::setFolder(const QString& folder) {
  folders_[chosenFormat()] = folder;
  folder_->setText(folder);
  refreshButton();
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

bool ExportStage::folderTaken() const {
  const QFileInfo info(folder());
  return info.exists() &&
         (!info.isDir() ||
          !QDir(folder()).isEmpty(QDir::AllEntries | QDir::Hidden | QDir::NoDotAndDotDot));
}

JobStatus ExportStage::job() const {
  for (const JobStatus& status : workbench_.engine().jobs())
    if (status.tag == QLatin1String("export"))
      return status;
  return {};
}

bool ExportStage::canExport() const {
  const int row = list_->currentIndex().row();
  return !exporting_ && row >= 0 && formats_->rows()[row].state != FormatState::refuses &&
         (subject() == Subject::result || subject() == Subject::original) &&
         !folder().trimmed().isEmpty() && !workbench_.quantizing();
}

// --- showing ------------------------------------------------------------------------------------

void ExportStage::refresh() {
  pages_->setCurrentIndex(workbench_.checkpoint() ? 1 : 0);
  const Checkpoint* source = workbench_.checkpoint().get();
  switch (subject()) {
  case Subject::none:
    formats_->examine(nullptr, {});
    break;
  case Subject::result:
    formats_->examine(workbench_.quantized().get(), export_modules(*workbench_.quantized()));
    break;
  case Subject::plan:
    formats_->examine(source, export_modules(*source, *workbench_.plan()));
    break;
  case Subject::original:
    formats_->examine(source, export_modules(*source));
    break;
  }
  keepSaying(*banner_, workbench_.resultStale(), 1,
             tr("The recipe changed since this result was made: an export holds the old result."));
  refreshDetail();
  refreshExports();
}

void ExportStage::refreshDetail() {
  const int row = list_->currentIndex().row();
  if (row < 0 || row >= formats_->rows().size())
    return;
  const FormatRow& format = formats_->rows()[row];
  detailCard_->setTitle(format.title);
  detailCard_->setReadout(tr("for %1").arg(format.loaders));
  summary_->setText(format.summary);
  findings_->setHtml(findingsHtml(format));
  QString text;
  switch (subject()) {
  case Subject::none:
    break;
  case Subject::result:
    text = tr("Exports the kept result, %1.")
               .arg(formatBytes(workbench_.summary() ? workbench_.summary()->bytes_after
                                                     : workbench_.quantized()->bytes()));
    break;
  case Subject::plan:
    text = tr("Foreseen from the plan: quantize first, then export.");
    break;
  case Subject::original:
    text = tr("Nothing is planned to be quantized: exports the checkpoint as it is, %1.")
               .arg(formatBytes(workbench_.checkpoint()->bytes()));
    break;
  }
  subject_->setText(text);
  folder_->setText(folders_.value(format.id, defaultFolder(format.id)));
  refreshButton();
}

void ExportStage::refreshButton() {
  const int row = list_->currentIndex().row();
  export_->setEnabled(canExport());
  export_->setVisible(!exporting_);
  cancel_->setVisible(exporting_);
  running_->setVisible(exporting_);
  export_->setText(folderTaken() ? tr("Replace\u2026") : tr("Export"));
  export_->setShortcut(QKeySequence(Qt::CTRL | Qt::Key_Return)); // setText drops it
  QString tip = tr("Writes the format, opens it again and compares every tensor (Ctrl+Return)");
  if (row >= 0 && formats_->rows()[row].state == FormatState::refuses)
    tip = tr("This format cannot hold the result: see the red findings");
  else if (subject() == Subject::plan)
    tip = tr("Quantize first: there is no result yet");
  else if (folder().trimmed().isEmpty())
    tip = tr("Choose a folder first");
  export_->setToolTip(tip);
}

QString ExportStage::verificationHtml(const QString& path) const {
  const ThemeColors& c = theme();
  if (const QString problem = evidence_->verificationProblem(path); !problem.isEmpty())
    return colouredHtml(tr("\u2715 Could not be verified: %1").arg(problem), c.error);
  if (const VerifyReport* report = evidence_->verification(path))
    return checksHtml(*report);
  return colouredHtml(verifying_.contains(path) ? tr("Verifying\u2026")
                                                : tr("Not verified since this window was opened."),
                      c.muted);
}

void ExportStage::refreshExports() {
  QList<ExportRow> rows;
  const QList<ExportOutcome>& all = workbench_.exports();
  for (auto it = all.rbegin(); it != all.rend(); ++it) {
    ExportRow row;
    row.path = QString::fromStdString(it->path.string());
    row.bytes = it->bytes;
    for (const std::string& note : it->notes)
      row.notes << QString::fromStdString(note);
    if (std::any_of(rows.begin(), rows.end(),
                    [&](const ExportRow& other) { return other.path == row.path; }))
      continue; // replaced by a newer one
    if (verifying_.contains(row.path)) {
      row.check = ExportRow::Check::running;
    } else if (const VerifyReport* report = evidence_->verification(row.path)) {
      const auto count = qsizetype(report->checks.size());
      const auto passed = std::count_if(report->checks.begin(), report->checks.end(),
                                        [](const VerifyCheck& check) { return check.ok; });
      row.check = report->ok ? ExportRow::Check::passed : ExportRow::Check::failed;
      row.checkText = report->ok ? tr("\u2713 %1 checks passed").arg(passed)
                                 : tr("\u2715 %1 of %2 failed").arg(count - passed).arg(count);
    } else if (!evidence_->verificationProblem(row.path).isEmpty()) {
      row.check = ExportRow::Check::failed;
      row.checkText = tr("\u2715 could not be verified");
    }
    rows.push_back(row);
  }
  const bool grown = rows.size() > exports_->rowCount();
  exports_->setRows(rows);
  if (grown)
    table_->selectRow(0);
  const QModelIndex at = table_->currentIndex();
  open_->setEnabled(at.isValid());
  again_->setEnabled(at.isValid() && !verifying_.contains(exports_->rows()[at.row()].path));
  if (rows.isEmpty())
    checks_->setHtml(colouredHtml(tr("Exports appear here with their size and what their "
                                     "verification found. One result can be exported to several "
                                     "formats."),
                                  theme().muted));
  else
    checks_->setHtml(at.isValid() ? verificationHtml(exports_->rows()[at.row()].path) : QString());
}

void ExportStage::progress() {
  if (!exporting_ || !isVisible())
    return;
  const JobStatus status = job();
  bar_->setRange(0, status.total ? 1000 : 0);
  if (status.total)
    bar_->setValue(int(1000.0 * double(status.done) / double(status.total)));
  progress_->setText(status.step);
}

// --- doing --------------------------------------------------------------------------------------

void ExportStage::exportNow() {
  if (!canExport())
    return;
  if (!folderTaken())
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
  progress_->setText(tr("waiting"));
  bar_->setRange(0, 0);
  refreshButton();
  workbench_.startExport(chosenFormat(), folder(), replace);
}

void ExportStage::finished(const QString& path, const QString& error) {
  exporting_ = false;
  if (error.isEmpty()) {
    verify(path);
  } else {
    if (job().state == JobState::cancelled)
      banner_->say(0, tr("The export was cancelled; nothing was left behind."));
    else
      banner_->say(2, tr("The export failed: %1").arg(error));
  }
  refreshButton();
  refreshExports();
}

void ExportStage::verify(const QString& path) {
  if (verifying_.contains(path))
    return;
  verifying_ << path;
  const auto against = workbench_.quantized() ? workbench_.quantized() : workbench_.checkpoint();
  workbench_.engine().run<VerifyReport>(
      QStringLiteral("verify:") + path, tr("Verify %1").arg(QFileInfo(path).fileName()), this,
      [path, against](Feedback& feedback, Compute& compute) {
        return verify_checkpoint(path.toStdString(), against.get(), compute, feedback);
      },
      [this, path](Result<VerifyReport> report) {
        verifying_.removeAll(path);
        if (report.ok())
          evidence_->verified(path, *report);
        else if (!report.error().cancelled())
          evidence_->verificationFailed(path, QString::fromStdString(report.error().text()));
        refreshExports();
      });
  refreshExports();
}

void ExportStage::askFolder() {
  QString from = folder();
  while (!from.isEmpty() && !QFileInfo(from).isDir() && QFileInfo(from).path() != from)
    from = QFileInfo(from).path();
  auto* dialog = new QFileDialog(this, tr("Export to"), from);
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->setFileMode(QFileDialog::Directory);
  dialog->setOption(QFileDialog::ShowDirsOnly);
  connect(dialog, &QFileDialog::fileSelected, this, &ExportStage::setFolder);
  dialog->open();
}

void ExportStage::openSelected() {
  if (const QModelIndex at = table_->currentIndex(); at.isValid()) {
    const QFileInfo info(exports_->rows()[at.row()].path);
    QDesktopServices::openUrl(
        QUrl::fromLocalFile(info.isDir() ? info.filePath() : info.absolutePath()));
  }
}

} // namespace bitlathe::gui
