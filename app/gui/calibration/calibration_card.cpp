// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/calibration/calibration_card.h"

#include "app/gui/calibration/calibration_files.h"
#include "app/gui/calibration/drawn_set.h"
#include "app/gui/calibration/file_delegate.h"
#include "app/gui/evaluate/evaluation_text.h"
#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/delegates.h"
#include "app/gui/widgets/save_menu.h"

#include <algorithm>
#include <QDragEnterEvent>
#include <QFileDialog>
#include <QFileInfo>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QMimeData>
#include <QPushButton>
#include <QSpinBox>
#include <QTableView>
#include <QToolButton>

namespace bitlathe::gui {

QStringList textsDragged(const QMimeData* data) {
  QStringList out;
  for (const QUrl& url : data->urls()) {
    const QString path = url.toLocalFile();
    const QFileInfo info(path);
    static const QStringList others = {QStringLiteral("gguf"), QStringLiteral("safetensors"),
                                       QStringLiteral("json"), QStringLiteral("bitlathe"),
                                       QStringLiteral("bin"),  QStringLiteral("onnx"),
                                       QStringLiteral("pt"),   QStringLiteral("pth")};
    if (!url.isLocalFile() || !info.isFile() || others.contains(info.suffix().toLower()))
      return {};
    out << path;
  }
  return out;
}

CalibrationCard::CalibrationCard(Workbench& workbench, QWidget* parent)
    : Card(tr("Calibration"),
           tr("Text that is run through the model to see activations; some methods weigh errors "
              "by them. Drop files here"),
           parent),
      workbench_(workbench), files_(new CalibrationFiles(workbench, this)) {
  setAcceptDrops(true);
  table_ = new QTableView(this);
  table_->setModel(files_);
  table_->setItemDelegate(new FileDelegate(table_));
  auto* bars = new BarDelegate(table_);
  table_->setItemDelegateForColumn(CalibrationFiles::tokens, bars);
  table_->setItemDelegateForColumn(CalibrationFiles::vocabulary, bars);
  table_->setSelectionBehavior(QAbstractItemView::SelectRows);
  table_->setShowGrid(false);
  table_->setTextElideMode(Qt::ElideMiddle);
  table_->setTabKeyNavigation(false);
  table_->setAccessibleName(tr("Calibration files"));
  table_->setVerticalScrollBarPolicy(Qt::ScrollBarAsNeeded);
  table_->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  table_->setEditTriggers(QAbstractItemView::DoubleClicked | QAbstractItemView::EditKeyPressed |
                          QAbstractItemView::SelectedClicked);
  table_->verticalHeader()->setDefaultSectionSize(26);
  table_->verticalHeader()->hide();
  QHeaderView* header = table_->horizontalHeader();
  header->setHighlightSections(false);
  header->setSectionResizeMode(CalibrationFiles::path, QHeaderView::Stretch);
  const int widths[CalibrationFiles::column_count] = {0, 96, 108, 60, 84, 136, 86};
  for (int column = 1; column < CalibrationFiles::column_count; ++column)
    header->resizeSection(column, widths[column]);
  addTableMenu(table_, QStringLiteral("calibration"));
  addBody(table_, 0);

  auto* add = new QToolButton(this);
  add->setText(tr("+ Files"));
  add->setToolTip(tr("Adds text files, or .jsonl with a document or chat a line; dropping them "
                     "here does the same"));
  add->setAccessibleName(tr("Add calibration files"));
  connect(add, &QToolButton::clicked, this, &CalibrationCard::choose);
  addTool(add);
  remove_ = new QToolButton(this);
  remove_->setText(QStringLiteral("\u2715"));
  remove_->setToolTip(tr("Takes the selected files out of the recipe; the files stay"));
  remove_->setAccessibleName(tr("Remove calibration files"));
  connect(remove_, &QToolButton::clicked, this, [this] {
    QList<int> rows;
    for (const auto& index : table_->selectionModel()->selectedRows())
      rows << index.row();
    files_->remove(rows);
  });
  addTool(remove_);
  addBody(buildNumbers(), 0);
  coverage_ = makeCaption({}, this);
  coverage_->setToolTip(tr("What is drawn, of what there is: tokens, and different tokens of the "
                           "model's vocabulary"));
  addBody(coverage_, 0);
  warnings_ = new QLabel(this);
  warnings_->setFont(smallFont());
  warnings_->setWordWrap(true);
  warnings_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  warnings_->setAccessibleName(tr("Warnings about the calibration text"));
  setRole(warnings_, "warning");
  addBody(warnings_, 0);

  const auto selection = [this] {
    remove_->setEnabled(!files_->inherited() && table_->selectionModel()->hasSelection());
  };
  connect(table_->selectionModel(), &QItemSelectionModel::selectionChanged, this, selection);
  connect(files_, &QAbstractItemModel::modelReset, this, selection);
  connect(files_, &QAbstractItemModel::modelReset, this, &CalibrationCard::fitTable);
  connect(files_, &QAbstractItemModel::dataChanged, this, &CalibrationCard::fitTable);
  connect(&workbench_, &Workbench::opened, this, &CalibrationCard::showRecipe);
  connect(&workbench_, &Workbench::recipeChanged, this, &CalibrationCard::showRecipe);
  connect(&workbench_, &Workbench::statisticsChanged, this, &CalibrationCard::showState);
  connect(&DrawnSet::of(workbench_), &DrawnSet::changed, this, &CalibrationCard::showCoverage);
  connect(&EvaluationText::of(workbench_), &EvaluationText::overlapsChanged, this,
          &CalibrationCard::showWarnings);
  selection();
  fitTable();
  showRecipe();
  showState();
  showCoverage();
}

QWidget* CalibrationCard::buildNumbers() {
  auto* body = new QWidget(this);
  auto* row = new QHBoxLayout(body);
  row->setContentsMargins(0, 0, 0, 0);
  row->setSpacing(space::s);
  const auto number = [&](int least, int most, const QString& name, const QString& tip,
                          const QString& unit, const std::function<void(Recipe&, int)>& put) {
    auto* box = new QSpinBox(body);
    box->setRange(least, most);
    box->setKeyboardTracking(false);
    box->setToolTip(tip);
    box->setAccessibleName(name);
    connect(box, &QSpinBox::valueChanged, this, [this, name, put](int value) {
      change(tr("%1 %2").arg(name).arg(value), [&](Recipe& recipe) { put(recipe, value); });
    });
    row->addWidget(box);
    auto* label = new QLabel(unit, body);
    label->setBuddy(box);
    label->setToolTip(tip);
    setRole(label, "muted");
    row->addWidget(label);
    return box;
  };
  samples_ = number(1, 1000000, tr("Samples"), tr("How many windows of text are run"),
                    tr("samples of"), [](Recipe& recipe, int n) { recipe.samples = n; });
  length_ = number(2, 1 << 20, tr("Length"), tr("Tokens in each window"), tr("tokens"),
                   [](Recipe& recipe, int n) { recipe.length = n; });
  row->addSpacing(space::s);
  seed_ = number(0, 1 << 30, tr("Calibration seed"),
                 tr("Which windows are drawn: the same seed draws the same ones"), tr("seed"),
                 [](Recipe& recipe, int n) { recipe.calibration_seed = n; });
  row->addStretch(1);
  run_ = new QPushButton(tr("Calibrate"), body);
  run_->setToolTip(tr("Collect activation statistics now (Ctrl+K)"));
  connect(run_, &QPushButton::clicked, this, [this] { workbench_.startCalibration(); });
  row->addWidget(run_);
  return body;
}

void CalibrationCard::change(const QString& what, const std::function<void(Recipe&)>& edit) {
  Recipe next = workbench_.recipe();
  edit(next);
  workbench_.setRecipe(next, what);
}

void CalibrationCard::choose() {
  const auto known = workbench_.calibrationFiles();
  const QString folder = known.empty()
                             ? QString()
                             : QFileInfo(QString::fromStdString(known.front().path)).absolutePath();
  auto* dialog = new QFileDialog(this, tr("Calibration text"), folder);
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->setFileMode(QFileDialog::ExistingFiles);
  dialog->setNameFilters(
      {tr("Text and documents (*.txt *.md *.raw *.jsonl *.ndjson)"), tr("All files (*)")});
  connect(dialog, &QFileDialog::filesSelected, files_, &CalibrationFiles::add);
  dialog->open();
}

void CalibrationCard::fitTable() {
  table_->setColumnHidden(CalibrationFiles::field, !files_->anyFields());
  const int rows = std::clamp(files_->rowCount(), 1, 5);
  table_->setFixedHeight(table_->horizontalHeader()->sizeHint().height() +
                         rows * table_->verticalHeader()->defaultSectionSize() +
                         2 * table_->frameWidth() + 2);
}

void CalibrationCard::showRecipe() {
  const Recipe& recipe = workbench_.recipe();
  const QSignalBlocker quiet[] = {QSignalBlocker(samples_), QSignalBlocker(length_),
                                  QSignalBlocker(seed_)};
  samples_->setValue(int(std::min<std::int64_t>(recipe.samples, samples_->maximum())));
  length_->setValue(int(std::min<std::int64_t>(recipe.length, length_->maximum())));
  seed_->setValue(int(std::min<std::int64_t>(recipe.calibration_seed, seed_->maximum())));
  showWarnings();
}

void CalibrationCard::showState() {
  const auto known = workbench_.statistics();
  const auto& model = workbench_.checkpoint();
  const bool able = model && model->spec;
  run_->setEnabled(able && !workbench_.calibrating());
  setReadout(workbench_.calibrating() ? tr("running \u2026")
             : known                  ? tr("done: %1 tokens in %2 layers")
                           .arg(formatCount(double(known->tokens)))
                           .arg(known->modules.size())
             : model && !able ? tr("this model cannot be run here")
                              : tr("not done yet"));
}

QString CalibrationCard::coverageText() const { return coverage_->text(); }
QString CalibrationCard::warningText() const { return warnings_->text(); }

void CalibrationCard::showCoverage() {
  const DrawnSet& drawn = DrawnSet::of(workbench_);
  if (const auto set = drawn.set()) {
    const Coverage& all = set->coverage;
    const double used = double(all.tokens_used) / double(std::max<qint64>(all.tokens_available, 1));
    coverage_->setText(
        tr("%1 of %2 tokens (%3) in %n windows  \u00b7  %4 of %5 tokens of the vocabulary occur "
           "(%6)%7",
           nullptr, int(all.windows))
            .arg(formatGrouped(all.tokens_used), formatGrouped(all.tokens_available),
                 formatPercent(used, 1), formatGrouped(all.vocabulary_seen),
                 formatGrouped(set->vocabulary),
                 formatPercent(
                     double(all.vocabulary_seen) / double(std::max<qint64>(set->vocabulary, 1)), 1),
                 all.documents > 1 ? tr("  \u00b7  %1 documents").arg(formatGrouped(all.documents))
                                   : QString()));
  } else {
    coverage_->setText(drawn.drawing() ? tr("Reading the text \u2026") : QString());
  }
  coverage_->setVisible(!coverage_->text().isEmpty());
  showWarnings();
}

void CalibrationCard::showWarnings() {
  const DrawnSet& drawn = DrawnSet::of(workbench_);
  QStringList lines;
  if (!drawn.problem().isEmpty())
    lines << drawn.problem();
  if (const auto set = drawn.set())
    for (const std::string& note : set->notes)
      lines << QString::fromStdString(note) + '.';
  if (const QString& note = EvaluationText::of(workbench_).setNote(); !note.isEmpty())
    lines << note;
  setRole(warnings_, drawn.problem().isEmpty() ? "warning" : "error");
  warnings_->setText(lines.join('\n'));
  warnings_->setVisible(!lines.isEmpty());
}

void CalibrationCard::dragEnterEvent(QDragEnterEvent* event) {
  if (!textsDragged(event->mimeData()).isEmpty())
    event->acceptProposedAction();
}

void CalibrationCard::dropEvent(QDropEvent* event) {
  files_->add(textsDragged(event->mimeData()));
  event->acceptProposedAction();
}

} // namespace bitlathe::gui
