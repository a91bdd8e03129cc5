// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/tree/layer_panel.h"

#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/tree/editors.h"
#include "app/gui/tree/layer_filter.h"
#include "app/gui/tree/layer_model.h"
#include "app/gui/tree/module_menu.h"
#include "app/gui/widgets/flow_layout.h"
#include "app/gui/widgets/save_menu.h"

#include <algorithm>
#include <QAction>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QLineEdit>
#include <QMenu>
#include <QPushButton>
#include <QSet>
#include <QShortcut>
#include <QToolButton>
#include <QTreeView>
#include <QVBoxLayout>

namespace bitlathe::gui {

namespace {

int preferredWidth(TreeColumn column) {
  switch (column) {
  case TreeColumn::include:
    return 46;
  case TreeColumn::shape:
    return 84;
  case TreeColumn::source:
    return 58;
  case TreeColumn::precision:
    return 118;
  case TreeColumn::method:
    return 66;
  case TreeColumn::reason:
    return 150;
  case TreeColumn::size:
  case TreeColumn::planned:
    return 72;
  case TreeColumn::error:
  case TreeColumn::second:
    return 78;
  default:
    return 150;
  }
}

/// "self_attn.q_proj" and the like are shown on chips by what sets them apart.
QString chipLabel(QString role) {
  if (role.endsWith(QStringLiteral("_proj")))
    role.chop(5);
  return role.replace('_', ' ');
}

} // namespace

LayerPanel::LayerPanel(Workbench& workbench, QWidget* parent)
    : QWidget(parent), workbench_(workbench), model_(new LayerModel(workbench, this)),
      filter_(new LayerFilter(*model_, this)), search_(new QLineEdit(this)),
      chips_(new QWidget(this)), chip_flow_(new FlowLayout(chips_, space::xs)),
      view_(new QTreeView(this)), status_(new QLabel(this)) {
  setRole(this, "panel");
  setAttribute(Qt::WA_StyledBackground);
  search_->setPlaceholderText(tr("Search layers"));
  search_->setClearButtonEnabled(true);
  search_->setToolTip(tr("Words that must all occur in the name, role, precision or method "
                         "(Ctrl+F)"));
  search_->setAccessibleName(tr("Search layers"));
  connect(search_, &QLineEdit::textChanged, this, [this](const QString& text) {
    filter_->setSearch(text);
    if (filter_->active())
      view_->expandAll();
    updateStatus();
  });
  connect(search_, &QLineEdit::returnPressed, view_, qOverload<>(&QWidget::setFocus));
  auto* flat = new QToolButton(this);
  flat->setText(QStringLiteral("≡"));
  flat->setCheckable(true);
  flat->setToolTip(tr("One flat list without blocks, for sorting the whole model by a column"));
  flat->setAccessibleName(tr("Flat list"));
  connect(flat, &QToolButton::toggled, this, [this](bool on) {
    model_->setGrouped(!on);
    view_->setRootIsDecorated(!on);
    view_->expandAll();
    pullSelection();
  });

  view_->setModel(filter_);
  view_->setSelectionMode(QAbstractItemView::ExtendedSelection);
  view_->setSelectionBehavior(QAbstractItemView::SelectRows);
  view_->setUniformRowHeights(true);
  view_->setAlternatingRowColors(false);
  view_->setSortingEnabled(true);
  view_->setIndentation(14);
  view_->setEditTriggers(QAbstractItemView::DoubleClicked | QAbstractItemView::EditKeyPressed |
                         QAbstractItemView::SelectedClicked);
  view_->setContextMenuPolicy(Qt::CustomContextMenu);
  view_->setAccessibleName(tr("Layers"));
  setRole(view_, "bare");
  view_->sortByColumn(0, Qt::AscendingOrder);
  view_->setItemDelegateForColumn(int(TreeColumn::source), new ChipDelegate(view_));
  view_->setItemDelegateForColumn(int(TreeColumn::precision), new SchemeDelegate(view_));
  view_->setItemDelegateForColumn(int(TreeColumn::method), new MethodDelegate(view_));
  view_->setItemDelegateForColumn(int(TreeColumn::planned), new BarDelegate(view_));
  view_->setItemDelegateForColumn(int(TreeColumn::error), new BarDelegate(view_));
  view_->setItemDelegateForColumn(int(TreeColumn::second), new BarDelegate(view_));
  view_->header()->setStretchLastSection(false);
  view_->header()->setSectionResizeMode(QHeaderView::Interactive);
  view_->header()->setSectionResizeMode(0, QHeaderView::Stretch);
  view_->header()->setMinimumSectionSize(40);
  addTableMenu(view_, QStringLiteral("layers"));
  connect(view_, &QWidget::customContextMenuRequested, this, &LayerPanel::openMenu);
  connect(view_->selectionModel(), &QItemSelectionModel::selectionChanged, this,
          &LayerPanel::pushSelection);
  sizeColumns();

  setRole(status_, "muted");
  status_->setFont(smallFont());
  auto* top = new QHBoxLayout;
  top->addWidget(search_, 1);
  top->addWidget(flat);
  auto* head = new QVBoxLayout;
  head->setContentsMargins(space::s, space::s, space::s, space::xs);
  head->setSpacing(space::s);
  head->addLayout(top);
  head->addWidget(chips_);
  auto* foot = new QHBoxLayout;
  foot->setContentsMargins(space::s, space::xs, space::s, space::xs);
  foot->addWidget(status_, 1);
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(0);
  column->addLayout(head);
  column->addWidget(view_, 1);
  column->addLayout(foot);

  connect(&workbench_, &Workbench::opened, this, [this] {
    rebuildChips();
    view_->expandAll();
    pullSelection();
  });
  connect(&workbench_, &Workbench::selectionChanged, this, &LayerPanel::pullSelection);
  connect(&workbench_, &Workbench::planChanged, this, &LayerPanel::updateStatus);
  // Re-sorting on every result of a running job would move rows under the mouse.
  connect(&workbench_, &Workbench::quantizeStarted, this,
          [this] { filter_->setDynamicSortFilter(false); });
  connect(&workbench_, &Workbench::resultsChanged, this, [this] {
    if (!workbench_.quantizing())
      filter_->setDynamicSortFilter(true);
  });
  rebuildChips();
  view_->expandAll();
  pullSelection();
}

void LayerPanel::setColumns(std::span<const TreeColumn> columns) {
  for (int c = 1; c < int(TreeColumn::count_); ++c)
    view_->setColumnHidden(c, std::find(columns.begin(), columns.end(), TreeColumn(c)) ==
                                  columns.end());
}

void LayerPanel::sizeColumns() {
  for (int c = 1; c < int(TreeColumn::count_); ++c)
    view_->setColumnWidth(c, preferredWidth(TreeColumn(c)));
}

void LayerPanel::focusSearch() {
  search_->setFocus(Qt::ShortcutFocusReason);
  search_->selectAll();
}

void LayerPanel::rebuildChips() {
  while (auto* item = chip_flow_->takeAt(0)) {
    item->widget()->deleteLater();
    delete item;
  }
  for (const auto& role : model_->roles()) {
    auto* chip = new QPushButton(chipLabel(role), chips_);
    chip->setCheckable(true);
    chip->setProperty("layerRole", role);
    chip->setToolTip(tr("Show only modules of the role %1").arg(role));
    chip->setAccessibleName(tr("Show %1").arg(role));
    chip->setFont(smallFont());
    setRole(chip, "chip");
    connect(chip, &QPushButton::toggled, this, &LayerPanel::applyChips);
    chip_flow_->addWidget(chip);
    chip->show();
  }
  applyChips();
}

void LayerPanel::applyChips() {
  QSet<QString> roles;
  for (int i = 0; i < chip_flow_->count(); ++i)
    if (auto* chip = qobject_cast<QPushButton*>(chip_flow_->itemAt(i)->widget());
        chip && chip->isChecked())
      roles.insert(chip->property("layerRole").toString());
  filter_->setRoles(roles);
  if (filter_->active())
    view_->expandAll();
  updateStatus();
}

void LayerPanel::pullSelection() {
  if (syncing_)
    return;
  syncing_ = true;
  QItemSelection wanted;
  QModelIndex first;
  for (const auto& name : workbench_.selection()) {
    const QModelIndex at = filter_->mapFromSource(model_->indexOf(name));
    if (!at.isValid())
      continue;
    wanted.select(at, at.siblingAtColumn(filter_->columnCount() - 1));
    if (!first.isValid())
      first = at;
  }
  view_->selectionModel()->select(wanted, QItemSelectionModel::ClearAndSelect);
  if (first.isValid()) {
    view_->selectionModel()->setCurrentIndex(first, QItemSelectionModel::NoUpdate);
    view_->scrollTo(first);
  }
  syncing_ = false;
  updateStatus();
}

void LayerPanel::pushSelection() {
  if (syncing_)
    return;
  QStringList names;
  QSet<QString> seen;
  const auto add = [&](const QModelIndex& row) {
    for (const auto& name : model_->modulesOf(filter_->mapToSource(row)))
      if (!seen.contains(name)) {
        seen.insert(name);
        names.append(name);
      }
  };
  const QModelIndex current = view_->selectionModel()->currentIndex();
  if (current.isValid() && view_->selectionModel()->isRowSelected(current.row(), current.parent()))
    add(current.siblingAtColumn(0)); // the first of the shared selection is the current one
  for (const auto& row : view_->selectionModel()->selectedRows())
    add(row);
  if (names.isEmpty())
    return;
  syncing_ = true;
  workbench_.select(names);
  syncing_ = false;
  updateStatus();
}

void LayerPanel::updateStatus() {
  if (!workbench_.checkpoint()) {
    status_->setText({});
    return;
  }
  int shown = 0;
  for (int row = 0; row < filter_->rowCount(); ++row) {
    const QModelIndex top = filter_->index(row, 0);
    const int children = filter_->rowCount(top);
    shown += children > 0 ? children : 1;
  }
  QString text = tr("%n modules", nullptr, shown);
  const auto& selection = workbench_.selection();
  if (selection.size() > 1) {
    quint64 bytes = 0;
    const QSet<QString> chosen(selection.begin(), selection.end());
    for (const auto& module : workbench_.checkpoint()->modules)
      if (chosen.contains(QString::fromStdString(module.name)))
        bytes += module.bytes();
    text += tr(" · %1 selected, %2").arg(selection.size()).arg(formatBytes(bytes));
  }
  status_->setText(text);
}

void LayerPanel::openMenu(const QPoint& at) {
  auto* menu = new QMenu(view_);
  menu->setAttribute(Qt::WA_DeleteOnClose);
  fillModuleMenu(menu, workbench_, workbench_.selection());
  menu->addSeparator();
  menu->addActions(view_->actions());
  menu->popup(view_->viewport()->mapToGlobal(at));
}

} // namespace bitlathe::gui
