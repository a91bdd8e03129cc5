// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/inspect/checkpoint_panel.h"

#include "app/gui/format.h"
#include "app/gui/inspect/second_errors.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/save_menu.h"

#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QLineEdit>
#include <QPushButton>
#include <QScrollArea>
#include <QSortFilterProxyModel>
#include <QSplitter>
#include <QTableView>
#include <QVBoxLayout>

namespace bitlathe::gui {

namespace {

QString text(const std::string& utf8) { return QString::fromStdString(utf8); }

/// What stands in the table, in its order.
QList<std::pair<QString, QString>> factsOf(const Checkpoint& checkpoint) {
  const CheckpointSummary summary = summarize(checkpoint);
  QList<std::pair<QString, QString>> facts;
  facts.append({FactsModel::tr("format"), text(checkpoint.format)});
  facts.append({FactsModel::tr("architecture"), text(checkpoint.architecture)});
  facts.append({FactsModel::tr("parameters"), formatCount(double(checkpoint.parameters()))});
  facts.append({FactsModel::tr("size"), formatBytes(checkpoint.bytes())});
  facts.append({FactsModel::tr("stored as"), text(summary.schemes_text())});
  if (summary.mixed)
    facts.append({FactsModel::tr("mixed"), FactsModel::tr("yes: matrices have several schemes")});
  facts.append(
      {FactsModel::tr("bits per weight"), QString::number(summary.bits_per_weight, 'f', 2)});
  for (const auto& [name, value] : summary.facts)
    facts.append({text(name), text(value)});
  facts.append({FactsModel::tr("runs here"),
                checkpoint.spec ? FactsModel::tr("yes")
                                : FactsModel::tr("no: %1").arg(text(checkpoint.why_not_runnable))});
  facts.append({FactsModel::tr("path"), text(checkpoint.path.string())});
  return facts;
}

QTableView* makeTable(QAbstractItemModel* model, const QString& name, const QString& file,
                      QWidget* parent) {
  auto* view = new QTableView(parent);
  view->setModel(model);
  view->setShowGrid(false);
  view->setWordWrap(false);
  view->setSelectionMode(QAbstractItemView::ContiguousSelection);
  view->verticalHeader()->hide();
  view->verticalHeader()->setDefaultSectionSize(21);
  view->horizontalHeader()->setStretchLastSection(true);
  view->horizontalHeader()->setDefaultAlignment(Qt::AlignLeft | Qt::AlignVCenter);
  view->setAccessibleName(name);
  setRole(view, "bare");
  addTableMenu(view, file);
  return view;
}

} // namespace

void FactsModel::set(const Checkpoint* first, const Checkpoint* second) {
  beginResetModel();
  rows_.clear();
  two_ = second != nullptr;
  int side = 0;
  for (const Checkpoint* checkpoint : {first, second}) {
    if (checkpoint)
      for (const auto& [name, value] : factsOf(*checkpoint)) {
        auto row = std::find_if(rows_.begin(), rows_.end(),
                                [&, n = name](const Row& r) { return r.name == n; });
        if (row == rows_.end()) {
          rows_.append({name, {}});
          row = rows_.end() - 1;
        }
        row->values[side] = value;
      }
    ++side;
  }
  endResetModel();
}

int FactsModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : int(rows_.size());
}

int FactsModel::columnCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : two_ ? 3 : 2;
}

QVariant FactsModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid())
    return {};
  const Row& row = rows_[index.row()];
  const QString value = index.column() == 0 ? row.name : row.values[index.column() - 1];
  switch (role) {
  case Qt::DisplayRole:
    return value;
  case Qt::ToolTipRole:
    return tr("%1: %2").arg(row.name, index.column() == 2 ? row.values[1] : row.values[0]);
  case Qt::FontRole:
    return index.column() == 0 ? smallFont() : numberFont();
  case Qt::ForegroundRole: // what differs between the two stands out
    return index.column() == 0                                             ? theme().muted
           : two_ && row.values[0] != row.values[1] && index.column() == 2 ? theme().second
                                                                           : theme().text;
  default:
    return {};
  }
}

QVariant FactsModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal || section == 0)
    return {};
  if (role == Qt::DisplayRole)
    return section == 1 ? tr("Original") : tr("Second");
  if (role == Qt::ForegroundRole)
    return section == 1 ? theme().original : theme().second;
  return {};
}

void MetadataModel::set(std::shared_ptr<const Checkpoint> checkpoint) {
  beginResetModel();
  checkpoint_ = std::move(checkpoint);
  endResetModel();
}

int MetadataModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() || !checkpoint_ ? 0 : int(checkpoint_->gguf.size());
}

int MetadataModel::columnCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : 2; }

QVariant MetadataModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid() || !checkpoint_)
    return {};
  const auto& [key, value] = checkpoint_->gguf[std::size_t(index.row())];
  switch (role) {
  case Qt::DisplayRole:
    return index.column() == 0 ? text(key) : text(gguf_value_text(value));
  case Qt::ToolTipRole: {
    const auto type = gguf_value_type(value);
    return tr("%1 (%2)\n%3")
        .arg(text(key), QString::fromUtf8(type.data(), qsizetype(type.size())),
             text(gguf_value_text(value, 1500)));
  }
  case Qt::FontRole:
    return index.column() == 0 ? smallFont() : numberFont();
  case Qt::ForegroundRole:
    return index.column() == 0 ? theme().muted : theme().text;
  default:
    return {};
  }
}

QVariant MetadataModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal || role != Qt::DisplayRole)
    return {};
  return section == 0 ? tr("Key") : tr("Value");
}

CheckpointPanel::CheckpointPanel(Workbench& workbench, QWidget* parent)
    : QWidget(parent), workbench_(workbench), title_(makeTitle({}, this)),
      notes_(makeCaption({}, this)), second_(makeCaption({}, this)), facts_(new FactsModel(this)),
      metadata_(new MetadataModel(this)), filter_(new QSortFilterProxyModel(this)) {
  title_->setWordWrap(true);
  beside_ = new QPushButton(tr("Open beside …"), this);
  beside_->setToolTip(tr("Open a second checkpoint beside this one, to lay its histograms over "
                         "this one's and to measure its error (Ctrl+Shift+O)"));
  measure_ = new QPushButton(tr("Measure all"), this);
  measure_->setToolTip(tr("The error of every layer against the second checkpoint, over whole "
                          "tensors; fills the column Δ SQNR of the tree (Ctrl+Shift+M)"));
  close_ = new QPushButton(tr("Close"), this);
  close_->setToolTip(tr("Close the second checkpoint"));
  connect(beside_, &QPushButton::clicked, this, &CheckpointPanel::besideWanted);
  auto& errors = SecondErrors::of(workbench);
  connect(measure_, &QPushButton::clicked, &errors, &SecondErrors::measureAll);
  connect(close_, &QPushButton::clicked, &workbench, &Workbench::closeSecond);
  auto* buttons = new QHBoxLayout;
  buttons->setSpacing(space::xs);
  for (auto* button : {beside_, measure_, close_})
    buttons->addWidget(button);
  buttons->addStretch();

  facts_view_ =
      makeTable(facts_, tr("Facts of the checkpoint"), QStringLiteral("checkpoint"), this);
  filter_->setSourceModel(metadata_);
  filter_->setFilterCaseSensitivity(Qt::CaseInsensitive);
  filter_->setFilterKeyColumn(-1);
  metadata_view_ =
      makeTable(filter_, tr("Metadata of the GGUF file"), QStringLiteral("metadata"), this);
  search_ = new QLineEdit(this);
  search_->setPlaceholderText(tr("Filter metadata"));
  search_->setClearButtonEnabled(true);
  search_->setToolTip(tr("Shows the keys and values that contain this text"));
  search_->setAccessibleName(tr("Filter metadata"));
  connect(search_, &QLineEdit::textChanged, filter_, &QSortFilterProxyModel::setFilterFixedString);
  metadata_box_ = new QWidget(this);
  auto* metadata_column = new QVBoxLayout(metadata_box_);
  metadata_column->setContentsMargins(0, 0, 0, 0);
  metadata_column->setSpacing(space::xs);
  metadata_column->addWidget(search_);
  metadata_column->addWidget(metadata_view_, 1);

  notes_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  notes_->setAlignment(Qt::AlignTop | Qt::AlignLeft);
  auto* notes_area = new QScrollArea(this);
  notes_area->setWidgetResizable(true);
  notes_area->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  notes_area->setAccessibleName(tr("Notes about the checkpoint"));
  auto* notes_page = new QWidget(notes_area);
  setRole(notes_page, "clear");
  auto* notes_column = new QVBoxLayout(notes_page);
  notes_column->setContentsMargins(0, 0, space::xs, 0);
  notes_column->addWidget(notes_);
  notes_column->addStretch();
  notes_area->setWidget(notes_page);

  auto* parts = new QSplitter(Qt::Vertical, this);
  parts->setChildrenCollapsible(false);
  parts->addWidget(facts_view_);
  parts->addWidget(notes_area);
  parts->addWidget(metadata_box_);
  parts->setStretchFactor(0, 4);
  parts->setStretchFactor(1, 1);
  parts->setStretchFactor(2, 3);
  parts->setSizes({400, 110, 260});
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(space::m, space::s, space::s, space::s);
  column->setSpacing(space::xs);
  column->addWidget(title_);
  column->addWidget(second_);
  column->addLayout(buttons);
  column->addWidget(parts, 1);

  connect(&workbench, &Workbench::opened, this, &CheckpointPanel::refresh);
  connect(&workbench, &Workbench::secondChanged, this, &CheckpointPanel::refresh);
  connect(&errors, &SecondErrors::measuringChanged, this,
          [this, &errors] { measure_->setEnabled(!errors.measuring()); });
  connect(&Theme::instance(), &Theme::changed, this, &CheckpointPanel::refresh);
  refresh();
}

void CheckpointPanel::refresh() {
  const auto& first = workbench_.checkpoint();
  const auto& second = workbench_.second();
  beside_->setEnabled(first != nullptr);
  measure_->setVisible(second != nullptr);
  close_->setVisible(second != nullptr);
  title_->setText(first ? text(first->name) : tr("No checkpoint open"));
  second_->setVisible(second != nullptr);
  if (second)
    second_->setText(tr("<span style='color:%1'>■</span> beside it: %2")
                         .arg(theme().second.name(), text(second->name).toHtmlEscaped()));
  facts_->set(first.get(), second.get());
  facts_view_->resizeColumnToContents(0);
  if (second)
    facts_view_->setColumnWidth(1, 120);
  QStringList notes;
  for (const auto* checkpoint : {first.get(), second.get()})
    if (checkpoint)
      for (const auto& note : checkpoint->notes)
        notes.append((checkpoint == second.get() ? tr("Second: %1").arg(text(note)) : text(note)));
  notes_->setText(notes.isEmpty() ? (first ? tr("Nothing unusual was noted.") : QString())
                                  : QStringLiteral("• ") + notes.join(QStringLiteral("\n• ")));
  metadata_->set(first && !first->gguf.empty() ? first : second);
  metadata_box_->setVisible(metadata_->rowCount() > 0);
  metadata_view_->setColumnWidth(0, 150);
}

} // namespace bitlathe::gui
