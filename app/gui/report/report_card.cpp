// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/report/report_card.h"

#include <QDesktopServices>
#include <QFileInfo>
#include <QPushButton>
#include <QUrl>

namespace bitlathe::gui {

ReportCard::ReportCard(Workbench& workbench, QWidget* parent)
    : Card(tr("Report"),
           tr("Model, recipe, plan with reasons, worst layers, figures, votes, environment, and "
              "the commands that do it again"),
           parent),
      report_(SessionReport::of(workbench)) {
  const auto button = [this](const QString& text, const QString& tip) {
    auto* made = new QPushButton(text, this);
    made->setToolTip(tip);
    addTool(made);
    return made;
  };
  open_ = button(tr("Open it"), tr("Show the last report in the program for such files"));
  page_ = button(tr("Save page …"), tr("A .html file that needs nothing beside it (Ctrl+Alt+R)"));
  paper_ = button(tr("Save PDF …"), tr("The same on A4 paper, charts as vectors"));
  connect(page_, &QPushButton::clicked, this,
          [this] { report_.ask(QStringLiteral("html"), window()); });
  connect(paper_, &QPushButton::clicked, this,
          [this] { report_.ask(QStringLiteral("pdf"), window()); });
  connect(open_, &QPushButton::clicked, this,
          [this] { QDesktopServices::openUrl(QUrl::fromLocalFile(report_.lastPath())); });
  connect(&report_, &SessionReport::changed, this, &ReportCard::refresh);
  refresh();
}

void ReportCard::refresh() {
  page_->setEnabled(!report_.busy());
  paper_->setEnabled(!report_.busy());
  open_->setVisible(!report_.lastPath().isEmpty());
  setReadout(report_.busy()                 ? tr("being written …")
             : report_.lastPath().isEmpty() ? tr("what was done here and how good it is, to keep "
                                                 "or to send")
                                            : QFileInfo(report_.lastPath()).fileName());
}

} // namespace bitlathe::gui
