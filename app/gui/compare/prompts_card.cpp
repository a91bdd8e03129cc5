// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/compare/prompts_card.h"

#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/save_menu.h"

#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QProgressBar>
#include <QTableView>
#include <QVBoxLayout>

namespace bitlathe::gui {

PromptsCard::PromptsCard(QWidget* parent)
    : Card(tr("Prompts"),
           tr("The prompts of the set and what came of each. Click one to see what was written; "
              "Alt+Up and Alt+Down go through them from anywhere"),
           parent),
      model_(new PromptsModel(this)) {
  auto* inside = new QWidget(this);
  auto* column = new QVBoxLayout(inside);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(space::xs);
  auto* row = new QHBoxLayout;
  bar_ = new QProgressBar(inside);
  bar_->setRange(0, 1000);
  bar_->setTextVisible(false);
  bar_->setFixedHeight(6);
  bar_->setAccessibleName(tr("Progress of the run over the set"));
  row->addWidget(bar_, 1);
  progress_ = new QLabel(inside);
  progress_->setFont(smallFont());
  setRole(progress_, "muted");
  row->addWidget(progress_);
  column->addLayout(row);
  summary_ = new QLabel(inside);
  summary_->setFont(smallFont());
  summary_->setWordWrap(true);
  column->addWidget(summary_);
  table_ = new QTableView(inside);
  table_->setModel(model_);
  table_->setAccessibleName(tr("Prompts and outcomes"));
  table_->setSelectionBehavior(QAbstractItemView::SelectRows);
  table_->setSelectionMode(QAbstractItemView::SingleSelection);
  table_->setShowGrid(false);
  table_->setWordWrap(false);
  table_->setTabKeyNavigation(false);
  table_->verticalHeader()->hide();
  table_->verticalHeader()->setDefaultSectionSize(table_->fontMetrics().height() + 6);
  auto* header = table_->horizontalHeader();
  header->setHighlightSections(false);
  header->setSectionResizeMode(PromptsModel::id, QHeaderView::Interactive);
  header->setSectionResizeMode(PromptsModel::text, QHeaderView::Stretch);
  header->setSectionResizeMode(PromptsModel::outcome, QHeaderView::Interactive);
  header->setSectionResizeMode(PromptsModel::divergence, QHeaderView::Interactive);
  header->resizeSection(PromptsModel::outcome, 120);
  header->resizeSection(PromptsModel::divergence, 78);
  addTableMenu(table_, QStringLiteral("prompts"));
  column->addWidget(table_, 1);
  addBody(inside);
  connect(table_->selectionModel(), &QItemSelectionModel::currentRowChanged, this,
          [this](const QModelIndex& current) {
            if (!quiet_ && current.isValid())
              Q_EMIT chosen(current.row());
          });
  connect(table_, &QTableView::clicked, this,
          [this](const QModelIndex& index) { Q_EMIT chosen(index.row()); });
  connect(model_, &QAbstractItemModel::modelReset, this, [this] {
    int widest = 30;
    for (const Prompt& prompt : model_->prompts())
      widest = std::max(
          widest, table_->fontMetrics().horizontalAdvance(QString::fromStdString(prompt.id)) + 18);
    table_->horizontalHeader()->resizeSection(PromptsModel::id, std::min(widest, 150));
  });
  hideProgress();
  showSummary({});
}

void PromptsCard::setCurrent(int row) {
  quiet_ = true;
  if (row < 0)
    table_->clearSelection();
  else
    table_->setCurrentIndex(model_->index(row, PromptsModel::text));
  quiet_ = false;
}

void PromptsCard::showProgress(int done, int count, double progress, double seconds) {
  bar_->show();
  progress_->show();
  bar_->setValue(int(1000 * std::max(0.0, progress)));
  QString text = tr("%1 of %2 prompts").arg(done).arg(count);
  if (seconds >= 0)
    text += tr(" \u00b7 %1 left").arg(formatDuration(seconds));
  progress_->setText(text);
  bar_->setAccessibleDescription(text);
}

void PromptsCard::hideProgress() {
  bar_->hide();
  progress_->hide();
}

void PromptsCard::showSummary(const QString& text) {
  summary_->setText(text);
  summary_->setVisible(!text.isEmpty());
}

} // namespace bitlathe::gui
