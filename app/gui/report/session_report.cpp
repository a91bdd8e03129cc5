// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/report/session_report.h"

#include "app/report/pdf.h"
#include "core/report/report.h"

#include <QFileDialog>
#include <QFileInfo>

namespace bitlathe::gui {

SessionReport& SessionReport::of(Workbench& workbench) {
  auto* existing = workbench.findChild<SessionReport*>({}, Qt::FindDirectChildrenOnly);
  return existing ? *existing : *new SessionReport(workbench);
}

SessionReport::SessionReport(Workbench& workbench) : QObject(&workbench), workbench_(workbench) {
  connect(&workbench, &Workbench::opened, this, [this] {
    last_.clear();
    Q_EMIT changed();
  });
}

void SessionReport::write(const QString& path) {
  if (busy_ || !workbench_.checkpoint())
    return;
  busy_ = true;
  Q_EMIT changed();
  const fs::path file = workbench_.sessionPath().toStdString();
  workbench_.engine().run<int>(
      QStringLiteral("report"), tr("Writing the report"), this,
      [session = workbench_.session(), file, path](Feedback& feedback,
                                                   Compute& compute) -> Result<int> {
        TRY_ASSIGN(const report::Input input, report::open_input(session, file));
        TRY_ASSIGN(const report::Document document,
                   report::session_report(input, compute, feedback));
        TRY(report::write_document(document, path.toStdString()));
        return int(document.sections.size());
      },
      [this, path](const Result<int>& sections) {
        busy_ = false;
        if (sections) {
          last_ = path;
          Q_EMIT workbench_.message(int(LogLevel::info), tr("The report is written: %1").arg(path));
        }
        Q_EMIT changed();
        if (sections)
          Q_EMIT written(path);
        else if (!sections.error().cancelled()) {
          const QString why = QString::fromStdString(sections.error().text());
          Q_EMIT workbench_.message(int(LogLevel::error), why);
          Q_EMIT failed(why);
        }
      });
}

void SessionReport::ask(const QString& ending, QWidget* parent) {
  if (!workbench_.checkpoint())
    return;
  auto* dialog = new QFileDialog(parent, tr("Save the report"));
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->setAcceptMode(QFileDialog::AcceptSave);
  const QString page = tr("Page (*.html)"), paper = tr("Paper (*.pdf)");
  dialog->setNameFilters(ending == QLatin1String("pdf") ? QStringList{paper, page}
                                                        : QStringList{page, paper});
  dialog->setDefaultSuffix(ending);
  connect(dialog, &QFileDialog::filterSelected, dialog, [dialog, paper](const QString& filter) {
    dialog->setDefaultSuffix(filter == paper ? QStringLiteral("pdf") : QStringLiteral("html"));
  });
  dialog->selectFile(QString::fromStdString(workbench_.checkpoint()->name) +
                     QStringLiteral("-report.") + ending);
  connect(dialog, &QFileDialog::fileSelected, this, &SessionReport::write);
  dialog->open();
}

} // namespace bitlathe::gui
