// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/inspect/activations_card.h"

#include "app/gui/format.h"
#include "app/gui/inspect/histogram_view.h"
#include "app/gui/inspect/second_set.h"
#include "app/gui/inspect/set_differences.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/delegates.h"
#include "app/gui/widgets/empty_state.h"
#include "app/gui/widgets/save_menu.h"
#include "core/calib/sets.h"

#include <algorithm>
#include <QFileDialog>
#include <QFileInfo>
#include <QHeaderView>
#include <QMenu>
#include <QPushButton>
#include <QSortFilterProxyModel>
#include <QSplitter>
#include <QStackedWidget>
#include <QTableView>
#include <QToolButton>
#include <QVBoxLayout>

namespace bitlathe::gui {

namespace {

std::optional<Histogram> histogramOf(const ActivationStatistics* statistics,
                                     const QString& module) {
  if (!statistics)
    return std::nullopt;
  const auto it = statistics->modules.find(module.toStdString());
  if (it == statistics->modules.end() || it->second.histogram.empty())
    return std::nullopt;
  const ActivationModule& found = it->second;
  Histogram out;
  const auto count = double(found.histogram.size());
  for (std::size_t i = 0; i <= found.histogram.size(); ++i)
    out.edges.push_back(found.histogram_lo +
                        (found.histogram_hi - found.histogram_lo) * double(i) / count);
  out.counts = found.histogram;
  for (const auto n : found.histogram)
    out.total += n;
  return out;
}

QString namesOf(const std::vector<CalibrationFile>& files) {
  QStringList names;
  for (const auto& file : files)
    names << QFileInfo(QString::fromStdString(file.path)).fileName() +
                 (file.split.empty() ? QString() : ", " + QString::fromStdString(file.split));
  return names.join(QStringLiteral("; "));
}

} // namespace

QPushButton* makeChip(const QString& text, const QString& tooltip, QWidget* parent) {
  auto* button = new QPushButton(text, parent);
  button->setCheckable(true);
  button->setToolTip(tooltip);
  button->setFont(smallFont());
  setRole(button, "chip");
  return button;
}

QToolButton* makeResetButton(const QString& what, QWidget* parent) {
  auto* button = new QToolButton(parent);
  button->setText(QStringLiteral("⤢"));
  button->setToolTip(ActivationsCard::tr("Show all of it again (double click, or 0)"));
  button->setAccessibleName(ActivationsCard::tr("Reset zoom of %1").arg(what));
  return button;
}

ActivationsCard::ActivationsCard(Workbench& workbench, QWidget* parent)
    : Card(tr("Activations"),
           tr("How often each value occurs in the inputs of this layer while calibration text "
              "runs through the model; a second set of text in violet"),
           parent),
      workbench_(workbench) {
  setReadoutBelow();
  pages_ = new QStackedWidget(this);
  empty_ = new EmptyState({}, {}, pages_);
  empty_->addAction(
      tr("Calibrate"),
      tr("Run the recipe's calibration text through the model and collect statistics (Ctrl+K)"),
      [this] { workbench_.startCalibration(); });
  auto* halves = new QSplitter(Qt::Vertical, pages_);
  halves->setChildrenCollapsible(false);
  view_ = new HistogramView(halves);
  view_->setAccessibleName(tr("Histogram of activations"));
  view_->setToolTip(tr("Wheel zooms, dragging selects a range, a double click shows all"));
  view_->setSeriesNames(tr("first"), {}, tr("second"));
  view_->setByShare(true);
  halves->addWidget(view_);
  model_ = new SetDifferences(this);
  sorted_ = new QSortFilterProxyModel(this);
  sorted_->setSourceModel(model_);
  sorted_->setSortRole(sort_role);
  table_ = new QTableView(halves);
  table_->setModel(sorted_);
  table_->setFont(smallFont());
  table_->setSortingEnabled(true);
  table_->sortByColumn(SetDifferences::apart, Qt::DescendingOrder);
  table_->setSelectionBehavior(QAbstractItemView::SelectRows);
  table_->setSelectionMode(QAbstractItemView::SingleSelection);
  table_->setEditTriggers(QAbstractItemView::NoEditTriggers);
  table_->setShowGrid(false);
  table_->setWordWrap(false);
  table_->setTextElideMode(Qt::ElideLeft);
  table_->setTabKeyNavigation(false);
  table_->setAccessibleName(tr("Differences between two calibration sets by layer"));
  table_->verticalHeader()->hide();
  table_->verticalHeader()->setDefaultSectionSize(QFontMetrics(smallFont()).height() + 10);
  table_->horizontalHeader()->setFont(smallFont());
  table_->horizontalHeader()->setHighlightSections(false);
  const int widths[SetDifferences::column_count] = {140, 76, 70, 124, 86, 74, 74, 96, 66};
  for (int column = 0; column < SetDifferences::column_count; ++column)
    table_->setColumnWidth(column, widths[column]);
  table_->setItemDelegateForColumn(SetDifferences::apart, new BarDelegate(table_));
  addTableMenu(table_, QStringLiteral("calibration-sets"));
  table_->hide();
  halves->addWidget(table_);
  halves->setStretchFactor(0, 3);
  halves->setStretchFactor(1, 2);
  pages_->addWidget(empty_);
  pages_->addWidget(halves);
  addBody(pages_);

  second_ = new QToolButton(this);
  second_->setText(tr("second set"));
  second_->setFont(smallFont());
  second_->setObjectName(QStringLiteral("inspect-second-set"));
  second_->setPopupMode(QToolButton::InstantPopup);
  second_->setToolTip(tr("Draws another calibration set over this one: other text, another part of "
                         "it, other windows, or statistics from a file"));
  auto* menu = new QMenu(second_);
  menu->setToolTipsVisible(true);
  connect(menu, &QMenu::aboutToShow, this, &ActivationsCard::fillMenu);
  second_->setMenu(menu);
  list_ = makeChip(tr("layers"), tr("How far the two sets are apart in every layer"), this);
  list_->setObjectName(QStringLiteral("inspect-set-differences"));
  connect(list_, &QPushButton::toggled, table_, &QWidget::setVisible);
  // Beside the read-out, so that the head stays narrow.
  auto* column = static_cast<QVBoxLayout*>(layout());
  QWidget* readout = column->itemAt(1)->widget();
  column->removeWidget(readout);
  auto* line = new QHBoxLayout;
  line->setSpacing(space::xs);
  line->addWidget(readout, 1);
  line->addWidget(second_);
  line->addWidget(list_);
  column->insertLayout(1, line);
  auto* log = makeChip(tr("log"), tr("Logarithmic counts"), this);
  log->setChecked(true);
  connect(log, &QPushButton::toggled, view_, &HistogramView::setLogScale);
  addTool(log);
  auto* reset = makeResetButton(tr("the activation histogram"), this);
  connect(reset, &QToolButton::clicked, view_, &HistogramView::resetZoom);
  addTool(reset);
  const auto csv = [this] { return view_->csv(); };
  addTool(makePictureButton(view_, QStringLiteral("activations"), csv, this));
  addPictureMenu(view_, QStringLiteral("activations"), csv);
  connect(view_, &HistogramView::hovered, this,
          [this](const QString& text) { setReadout(text.isEmpty() ? note_ : text); });
  connect(table_->selectionModel(), &QItemSelectionModel::selectionChanged, this, [this] {
    const QModelIndex current = table_->currentIndex();
    if (!selecting_ && current.isValid())
      workbench_.select({current.data(module_role).toString()});
  });
  connect(&workbench_, &Workbench::statisticsChanged, this, &ActivationsCard::refresh);
  connect(&SecondSet::of(workbench_), &SecondSet::changed, this, &ActivationsCard::refreshSecond);
  refreshSecond();
}

void ActivationsCard::showModule(const QString& module) {
  shown_ = module;
  refresh();
  selectRow();
}

void ActivationsCard::showNone() {
  const auto statistics = workbench_.statistics();
  const auto& model = workbench_.checkpoint();
  if (workbench_.calibrating())
    empty_->setTexts(tr("Calibrating \u2026"),
                     tr("Calibration text runs through the model. The strip below shows how far it "
                        "is."));
  else if (model && !model->spec)
    empty_->setTexts(tr("No activations"),
                     tr("This model cannot be run here: %1")
                         .arg(QString::fromStdString(model->why_not_runnable)));
  else if (statistics)
    empty_->setTexts(
        tr("No statistics for this layer"),
        statistics->modules.count(shown_.toStdString()) > 0
            ? tr("They were read from an importance matrix, which has no histograms.")
            : tr("Only the inputs of matrix products are collected; choose a projection."));
  else
    empty_->setTexts(tr("See what flows in"),
                     tr("Calibration runs sample text through the model and shows what reaches "
                        "each layer. Some methods need it too."));
  pages_->setCurrentIndex(0);
  setReadout({});
}

void ActivationsCard::refresh() {
  const auto statistics = workbench_.statistics();
  const SecondSet& other = SecondSet::of(workbench_);
  second_->setEnabled(statistics && !other.collecting());
  list_->setVisible(!other.differences().empty());
  if (other.differences().empty())
    list_->setChecked(false);
  note_.clear();
  auto first = histogramOf(statistics.get(), shown_);
  if (!first) {
    showNone();
    return;
  }
  const ActivationModule& module = statistics->modules.at(shown_.toStdString());
  double lo = double(module.moments.min), hi = double(module.moments.max);
  auto second = histogramOf(other.statistics().get(), shown_);
  if (second) {
    const Moments& moments = other.statistics()->modules.at(shown_.toStdString()).moments;
    lo = std::min(lo, double(moments.min));
    hi = std::max(hi, double(moments.max));
  }
  QStringList names;
  for (const std::string& source : statistics->sources)
    names << QFileInfo(QString::fromStdString(source)).fileName();
  view_->setLegend(
      {names.isEmpty() ? tr("first set") : names.join(QStringLiteral("; ")), {}, other.title()});
  view_->setWhole(lo, hi);
  view_->setData(std::move(first), std::nullopt, std::move(second));
  const auto* difference = other.difference(shown_);
  note_ = difference
              ? differenceText(*difference)
              : tr("%1 tokens, %n outlier channels", nullptr, int(module.outlier_channels().size()))
                    .arg(formatCount(double(module.tokens)));
  setReadout(note_);
  pages_->setCurrentIndex(1);
}

void ActivationsCard::refreshSecond() {
  const SecondSet& other = SecondSet::of(workbench_);
  model_->set(other.differences());
  second_->setText(other.collecting()   ? tr("running \u2026")
                   : other.statistics() ? tr("second set \u2713")
                                        : tr("second set"));
  QString tip = tr("Draws another calibration set over this one: other text, another part of it, "
                   "other windows, or statistics from a file");
  if (other.statistics())
    tip = tr("Second set: %1").arg(other.title()) +
          (other.notes().isEmpty() ? QString() : '\n' + other.notes().join('\n'));
  second_->setToolTip(tip);
  refresh();
  selectRow();
}

void ActivationsCard::selectRow() {
  const int row = model_->rowOf(shown_);
  selecting_ = true;
  if (row >= 0)
    table_->selectRow(sorted_->mapFromSource(model_->index(row, 0)).row());
  else
    table_->clearSelection();
  selecting_ = false;
}

void ActivationsCard::fillMenu() {
  QMenu* menu = second_->menu();
  menu->clear();
  SecondSet& other = SecondSet::of(workbench_);
  const auto add = [&](const QString& text, const QString& tip, std::function<void()> action) {
    auto* entry = menu->addAction(text);
    entry->setToolTip(tip);
    connect(entry, &QAction::triggered, this, std::move(action));
  };
  add(tr("Other text\u2026"),
      tr("Files to read as many and as long samples from as the recipe says"),
      [this] { chooseTexts(); });
  const auto files = workbench_.calibrationFiles();
  for (const std::string_view name : split_names) {
    auto part = files;
    for (CalibrationFile& file : part)
      file.split = std::string(name);
    if (part == files)
      continue;
    add(tr("The part \u201c%1\u201d of the same text")
            .arg(QString::fromUtf8(name.data(), qsizetype(name.size()))),
        tr("Parts of a file never meet"), [this, part] {
          SecondSet::of(workbench_)
              .collect(part, workbench_.recipe().calibration_seed, namesOf(part));
        });
  }
  add(tr("Other windows of the same text"),
      tr("The same files with another seed: what chance alone changes"), [this, files] {
        const qint64 seed = workbench_.recipe().calibration_seed + 1;
        SecondSet::of(workbench_)
            .collect(files, seed, tr("%1, seed %2").arg(namesOf(files)).arg(seed));
      });
  add(tr("Statistics from a file\u2026"), tr("Of `calibrate`, or an importance matrix"),
      [this] { chooseStatistics(); });
  if (other.statistics()) {
    menu->addSeparator();
    add(tr("Remove %1").arg(other.title()), tr("Shows the first set alone"),
        [this] { SecondSet::of(workbench_).drop(); });
  }
}

void ActivationsCard::chooseTexts() {
  auto* dialog = new QFileDialog(this, tr("Second calibration set"));
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->setFileMode(QFileDialog::ExistingFiles);
  dialog->setNameFilters(
      {tr("Text and documents (*.txt *.md *.raw *.jsonl *.ndjson)"), tr("All files (*)")});
  connect(dialog, &QFileDialog::filesSelected, this, [this](const QStringList& paths) {
    std::vector<CalibrationFile> files;
    for (const QString& path : paths)
      files.push_back({path.toStdString(), 1.0});
    SecondSet::of(workbench_).collect(files, workbench_.recipe().calibration_seed, namesOf(files));
  });
  dialog->open();
}

void ActivationsCard::chooseStatistics() {
  auto* dialog = new QFileDialog(this, tr("Activation statistics"));
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->setFileMode(QFileDialog::ExistingFile);
  connect(dialog, &QFileDialog::fileSelected, this,
          [this](const QString& path) { SecondSet::of(workbench_).read(path); });
  dialog->open();
}

} // namespace bitlathe::gui
