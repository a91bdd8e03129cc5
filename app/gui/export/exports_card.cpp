// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/export/exports_card.h"

#include "app/gui/evaluate/evidence.h"
#include "app/gui/export/findings_html.h"
#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/save_menu.h"

#include <algorithm>
#include <QDesktopServices>
#include <QFileInfo>
#include <QHeaderView>
#include <QPushButton>
#include <QSplitter>
#include <QTableView>
#include <QTableWidget>
#include <QTabWidget>
#include <QTextBrowser>
#include <QTextDocument>
#include <QUrl>

namespace bitlathe::gui {

QTextBrowser* makeBrowser(const QString& name, QWidget* parent) {
  auto* browser = new QTextBrowser(parent);
  browser->setFrameShape(QFrame::NoFrame);
  browser->setStyleSheet(QStringLiteral("QTextBrowser { border: none; padding: 0; }"));
  browser->setAccessibleName(name);
  browser->setOpenLinks(false);
  browser->document()->setDocumentMargin(2);
  return browser;
}

ExportsCard::ExportsCard(Workbench& workbench, QWidget* parent)
    : Card(tr("Exports"), tr("What was written from this window, newest first"), parent),
      workbench_(workbench), evidence_(Evidence::of(workbench)), exports_(new ExportsModel(this)) {
  again_ = new QPushButton(tr("Verify again"), this);
  again_->setToolTip(tr("Opens the selected export once more and compares every tensor"));
  connect(again_, &QPushButton::clicked, this, [this] {
    if (const QString path = selectedPath(); !path.isEmpty())
      verify(path);
  });
  addTool(again_);
  open_ = new QPushButton(tr("Open folder"), this);
  open_->setToolTip(tr("Shows the selected export in the file manager"));
  connect(open_, &QPushButton::clicked, this, &ExportsCard::openSelected);
  addTool(open_);

  auto* split = new QSplitter(Qt::Horizontal, this);
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
  header->resizeSection(ExportsModel::name, 140);
  header->resizeSection(ExportsModel::size, 70);
  header->resizeSection(ExportsModel::verification, 124);
  table_->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  addTableMenu(table_, QStringLiteral("exports"));
  connect(table_, &QTableView::doubleClicked, this, &ExportsCard::openSelected);
  connect(table_->selectionModel(), &QItemSelectionModel::currentRowChanged, this,
          &ExportsCard::refresh, Qt::QueuedConnection);
  split->addWidget(table_);
  tabs_ = new QTabWidget(split);
  tabs_->setDocumentMode(true);
  checks_ = makeBrowser(tr("Verification"), tabs_);
  tabs_->addTab(checks_, tr("Checks"));
  tabs_->setTabToolTip(0, tr("What was checked after the export was opened again"));
  worst_ = new QTableWidget(0, 4, tabs_);
  worst_->setHorizontalHeaderLabels({tr("Module"), tr("SQNR"), tr("MSE"), tr("Largest")});
  worst_->setFrameShape(QFrame::NoFrame);
  worst_->setShowGrid(false);
  worst_->setEditTriggers(QAbstractItemView::NoEditTriggers);
  worst_->setSelectionBehavior(QAbstractItemView::SelectRows);
  worst_->setSelectionMode(QAbstractItemView::SingleSelection);
  worst_->setTextElideMode(Qt::ElideLeft);
  worst_->setTabKeyNavigation(false);
  worst_->verticalHeader()->hide();
  worst_->verticalHeader()->setDefaultSectionSize(24);
  worst_->setAccessibleName(tr("Modules with the largest errors"));
  worst_->horizontalHeader()->setSectionResizeMode(0, QHeaderView::Stretch);
  worst_->horizontalHeader()->setHighlightSections(false);
  for (int column = 1; column < 4; ++column)
    worst_->setColumnWidth(column, 84);
  addTableMenu(worst_, QStringLiteral("worst-modules"));
  connect(worst_, &QTableWidget::itemSelectionChanged, this, [this] {
    if (const auto* item = worst_->item(worst_->currentRow(), 0))
      workbench_.select({item->text()});
  });
  tabs_->addTab(worst_, tr("Worst modules"));
  tabs_->setTabToolTip(1, tr("Where the export is farthest from what it was made of"));
  split->addWidget(tabs_);
  split->setStretchFactor(0, 3);
  split->setStretchFactor(1, 3);
  addBody(split);
  connect(evidence_, &Evidence::changed, this, &ExportsCard::refresh);
  connect(&workbench_, &Workbench::opened, this, [this] {
    verifying_.clear();
    refresh();
  });
  connect(&Theme::instance(), &Theme::changed, this, &ExportsCard::refresh);
  refresh();
}

QString ExportsCard::selectedPath() const {
  const QModelIndex at = table_->currentIndex();
  return at.isValid() && at.row() < exports_->rows().size() ? exports_->rows()[at.row()].path
                                                            : QString();
}

void ExportsCard::refresh() {
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
  const QString path = selectedPath();
  open_->setEnabled(!path.isEmpty());
  again_->setEnabled(!path.isEmpty() && !verifying_.contains(path));
  open_->setVisible(!rows.isEmpty());
  again_->setVisible(!rows.isEmpty());
  table_->setVisible(!rows.isEmpty());
  showChecks();
}

void ExportsCard::showChecks() {
  const ThemeColors& c = theme();
  const QString path = selectedPath();
  const VerifyReport* report = path.isEmpty() ? nullptr : evidence_->verification(path);
  QString html;
  if (exports_->rows().isEmpty())
    html = colouredHtml(tr("Exports appear here with their size and what their verification "
                           "found. One result can be exported to several formats."),
                        c.muted);
  else if (path.isEmpty())
    html = {};
  else if (verifying_.contains(path))
    html = colouredHtml(tr("Verifying\u2026"), c.muted);
  else if (const QString problem = evidence_->verificationProblem(path); !problem.isEmpty())
    html = colouredHtml(tr("\u2715 Could not be verified: %1").arg(problem), c.error);
  else if (report)
    html = checksHtml(*report);
  else
    html = colouredHtml(tr("Not verified since this window was opened."), c.muted);
  checks_->setHtml(html);

  const QSignalBlocker quiet(worst_);
  const std::vector<VerifyWorst> worst = report ? report->worst : std::vector<VerifyWorst>();
  worst_->setRowCount(int(worst.size()));
  for (int row = 0; row < int(worst.size()); ++row) {
    const VerifyWorst& one = worst[std::size_t(row)];
    const QStringList cells = {
        QString::fromStdString(one.module),
        one.mse == 0 ? tr("exact") : QString::number(one.sqnr_db, 'f', 1) + QStringLiteral(" dB"),
        formatNumber(one.mse, 3), formatNumber(double(one.max_abs_error), 3)};
    for (int column = 0; column < 4; ++column) {
      auto* item = new QTableWidgetItem(cells[column]);
      if (column > 0)
        item->setTextAlignment(Qt::AlignRight | Qt::AlignVCenter);
      item->setToolTip(cells[column]);
      worst_->setItem(row, column, item);
    }
  }
  tabs_->setTabEnabled(1, !worst.empty());
  tabs_->tabBar()->setVisible(!exports_->rows().isEmpty());
}

void ExportsCard::verify(const QString& path) {
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
        refresh();
      });
  refresh();
}

void ExportsCard::openSelected() {
  if (const QString path = selectedPath(); !path.isEmpty()) {
    const QFileInfo info(path);
    QDesktopServices::openUrl(
        QUrl::fromLocalFile(info.isDir() ? info.filePath() : info.absolutePath()));
  }
}

} // namespace bitlathe::gui
