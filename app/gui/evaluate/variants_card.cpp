// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/evaluate/variants_card.h"

#include "app/gui/evaluate/variants_model.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/delegates.h"
#include "app/gui/widgets/save_menu.h"

#include <QAction>
#include <QHeaderView>
#include <QInputDialog>
#include <QLabel>
#include <QMessageBox>
#include <QPushButton>
#include <QSortFilterProxyModel>
#include <QTableView>
#include <QVBoxLayout>

namespace bitlathe::gui {

VariantsCard::VariantsCard(Workbench& workbench, QWidget* parent)
    : Card(tr("Variants"), tr("Every quantization that was finished in this session, kept with it"),
           parent),
      workbench_(workbench) {
  const auto button = [this](const QString& text, const QString& tip, auto action) {
    auto* made = new QPushButton(text, this);
    made->setToolTip(tip);
    connect(made, &QPushButton::clicked, this, action);
    addTool(made);
    return made;
  };
  load_ = button(tr("Load recipe"),
                 tr("Puts its recipe in the place of the current one; undo "
                    "takes that back (double-click)"),
                 [this] { workbench_.loadVariantRecipe(chosen()); });
  current_ = button(tr("Make current"),
                    tr("Shows its kept result in all stages, as if it had just been made"),
                    [this] { workbench_.makeVariantCurrent(chosen()); });
  compare_ = button(tr("Add to Compare"), tr("Generate and measure with it beside the others"),
                    [this] { compare(); });
  rename_ = button(tr("Rename\u2026"), tr("Gives it another name"), [this] { rename(); });
  remove_ = button(tr("Remove\u2026"), tr("Takes it off this list"), [this] { remove(); });

  model_ = new VariantsModel(workbench_, this);
  sorted_ = new QSortFilterProxyModel(this);
  sorted_->setSourceModel(model_);
  sorted_->setSortRole(sort_role);
  table_ = new QTableView(this);
  table_->setModel(sorted_);
  table_->setSelectionBehavior(QAbstractItemView::SelectRows);
  table_->setSelectionMode(QAbstractItemView::SingleSelection);
  table_->setEditTriggers(QAbstractItemView::NoEditTriggers);
  table_->setShowGrid(false);
  table_->setFrameShape(QFrame::NoFrame);
  table_->setFont(numberFont());
  table_->setTabKeyNavigation(false);
  table_->setSortingEnabled(true);
  table_->sortByColumn(VariantsModel::made, Qt::AscendingOrder);
  table_->setAccessibleName(tr("Variants of this session"));
  table_->setWordWrap(false);
  table_->verticalHeader()->hide();
  table_->verticalHeader()->setDefaultSectionSize(QFontMetrics(numberFont()).height() + 10);
  QHeaderView* header = table_->horizontalHeader();
  header->setHighlightSections(false);
  header->setSectionResizeMode(QHeaderView::ResizeToContents);
  header->setStretchLastSection(true);
  header->setMinimumSectionSize(50);
  connect(table_, &QTableView::doubleClicked, this,
          [this] { workbench_.loadVariantRecipe(chosen()); });
  for (QPushButton* one : {load_, current_, compare_, rename_, remove_}) {
    auto* action = new QAction(one->text(), table_);
    connect(action, &QAction::triggered, one, &QPushButton::click);
    table_->addAction(action);
  }
  addTableMenu(table_, QStringLiteral("variants"));
  addBody(table_);
  empty_ = makeCaption(tr("Quantize something: every finished run is kept here with its recipe and "
                          "its figures."),
                       this);
  addBody(empty_, 0);

  connect(table_->selectionModel(), &QItemSelectionModel::selectionChanged, this,
          &VariantsCard::refreshButtons);
  for (const auto signal :
       {&Workbench::opened, &Workbench::variantsChanged, &Workbench::compareChanged,
        &Workbench::resultsChanged, &Workbench::contendersChanged})
    connect(&workbench_, signal, this, &VariantsCard::refresh);
  refresh();
}

int VariantsCard::chosen() const {
  const QModelIndex at = table_->currentIndex();
  return at.isValid() ? sorted_->mapToSource(at).row() : -1;
}

void VariantsCard::choose(int variant) {
  table_->setCurrentIndex(sorted_->mapFromSource(model_->index(variant, 0)));
}

void VariantsCard::refresh() {
  model_->refresh();
  const int count = int(workbench_.variants().size());
  setReadout(count > 0 ? QString::number(count) : QString());
  empty_->setVisible(count == 0);
  refreshButtons();
}

void VariantsCard::refreshButtons() {
  const int variant = chosen();
  const bool any = variant >= 0, kept = workbench_.variantKept(variant);
  load_->setEnabled(any);
  rename_->setEnabled(any);
  remove_->setEnabled(any && !workbench_.measuringVariants());
  current_->setEnabled(kept && variant != workbench_.currentVariant() && !workbench_.quantizing());
  compare_->setEnabled(kept && variant != workbench_.currentVariant());
}

void VariantsCard::compare() {
  if (!workbench_.variantKept(chosen()))
    return;
  const std::string& folder = workbench_.variants()[std::size_t(chosen())].result;
  for (const Contender& contender : workbench_.contenders())
    if (contender.checkpoint->path == fs::path(folder)) {
      Q_EMIT workbench_.message(int(LogLevel::info), tr("It is among the compared ones already."));
      return;
    }
  workbench_.addContender(QString::fromStdString(folder));
}

void VariantsCard::rename() {
  const int variant = chosen();
  if (variant < 0)
    return;
  auto* dialog = new QInputDialog(this);
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->setWindowTitle(tr("Rename variant"));
  dialog->setLabelText(tr("Name"));
  dialog->setTextValue(QString::fromStdString(workbench_.variants()[std::size_t(variant)].title));
  connect(dialog, &QInputDialog::textValueSelected, this,
          [this, variant](const QString& name) { workbench_.renameVariant(variant, name); });
  dialog->open();
}

void VariantsCard::remove() {
  const int variant = chosen();
  if (variant < 0)
    return;
  const SessionVariant& one = workbench_.variants()[std::size_t(variant)];
  if (!workbench_.variantKept(variant)) { // nothing on disk is lost
    workbench_.removeVariant(variant, false);
    return;
  }
  auto* box = new QMessageBox(
      QMessageBox::Question, tr("Remove variant"),
      tr("Remove %1 from this session? Its kept result is in\n%2")
          .arg(QString::fromStdString(one.title), QString::fromStdString(one.result)),
      QMessageBox::Cancel, this);
  auto* both = box->addButton(tr("Remove and delete the result"), QMessageBox::DestructiveRole);
  auto* only = box->addButton(tr("Remove, keep the files"), QMessageBox::AcceptRole);
  box->setAttribute(Qt::WA_DeleteOnClose);
  connect(box, &QMessageBox::buttonClicked, this,
          [this, variant, both, only](QAbstractButton* pressed) {
            if (pressed == both || pressed == only)
              workbench_.removeVariant(variant, pressed == both);
          });
  box->open();
}

} // namespace bitlathe::gui
