// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/evaluate/page_parts.h"

#include "app/gui/engine_thread.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/save_menu.h"

#include <QBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QStandardItemModel>
#include <QTableView>

namespace bitlathe::gui {

QTableView* makeFiguresTable(QStandardItemModel* model, const QString& name, const QString& file,
                             QWidget* parent) {
  auto* table = new QTableView(parent);
  table->setModel(model);
  table->setSelectionBehavior(QAbstractItemView::SelectRows);
  table->setSelectionMode(QAbstractItemView::SingleSelection);
  table->setEditTriggers(QAbstractItemView::NoEditTriggers);
  table->setShowGrid(false);
  table->setWordWrap(false); // figures and their units stay in one line
  table->setFrameShape(QFrame::NoFrame);
  table->setFont(numberFont());
  table->setTabKeyNavigation(false);
  table->setAccessibleName(name);
  table->verticalHeader()->hide();
  table->verticalHeader()->setDefaultSectionSize(QFontMetrics(numberFont()).height() + 8);
  table->horizontalHeader()->setHighlightSections(false);
  addTableMenu(table, file);
  return table;
}

void addFiguresRow(QStandardItemModel* model, const QStringList& texts, int left,
                   const QString& tip) {
  QList<QStandardItem*> row;
  for (int i = 0; i < texts.size(); ++i) {
    auto* item = new QStandardItem(texts[i]);
    item->setTextAlignment((i < left ? Qt::AlignLeft : Qt::AlignRight) | Qt::AlignVCenter);
    item->setToolTip(tip);
    row.append(item);
  }
  model->appendRow(row);
}

void addLabelled(QBoxLayout* row, const QString& text, QWidget* field, const QString& tip) {
  auto* made = new QLabel(text, field->parentWidget());
  made->setFont(smallFont());
  setRole(made, "muted");
  made->setBuddy(field);
  made->setToolTip(tip);
  field->setToolTip(tip);
  field->setAccessibleName(text);
  row->addWidget(made);
  row->addWidget(field);
}

int jobProgress(const EngineThread& engine, const QString& tag) {
  for (const JobStatus& status : engine.jobs())
    if (status.tag == tag)
      return status.total > 0 ? int(1000.0 * double(status.done) / double(status.total)) : -1;
  return -1;
}

void cancelJobs(EngineThread& engine, const QString& tag) {
  for (const JobStatus& status : engine.jobs())
    if (status.tag == tag)
      engine.cancel(status.id);
}

} // namespace bitlathe::gui
