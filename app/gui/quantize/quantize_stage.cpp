// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/quantize/quantize_stage.h"

#include "app/gui/format.h"
#include "app/gui/quantize/size_bars.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/card.h"
#include "app/gui/widgets/delegates.h"
#include "app/gui/widgets/empty_state.h"
#include "app/gui/widgets/figure_tile.h"
#include "app/gui/widgets/save_menu.h"

#include <QAction>
#include <QComboBox>
#include <QDesktopServices>
#include <QDir>
#include <QDirIterator>
#include <QFile>
#include <QHeaderView>
#include <QLabel>
#include <QMessageBox>
#include <QPlainTextEdit>
#include <QProgressBar>
#include <QPushButton>
#include <QSortFilterProxyModel>
#include <QSplitter>
#include <QStackedWidget>
#include <QTableView>
#include <QTabWidget>
#include <QTime>
#include <QToolButton>
#include <QUrl>
#include <QVBoxLayout>

namespace bitlathe::gui {
namespace {

constexpr int log_lines = 5000;

QPlainTextEdit* makeText(const QString& name, const QString& hint, QWidget* parent) {
  auto* text = new QPlainTextEdit(parent);
  text->setReadOnly(true);
  text->setFont(codeFont());
  text->setMaximumBlockCount(log_lines);
  text->setLineWrapMode(QPlainTextEdit::WidgetWidth);
  text->setAccessibleName(name);
  text->setPlaceholderText(hint);
  text->setFrameShape(QFrame::NoFrame);
  return text;
}

int plannedModules(const Plan& plan) {
  int count = 0;
  for (const PlannedModule& module : plan.modules)
    count += module.quantize || module.convert;
  return count;
}

} // namespace

quint64 memoryInUse() {
  QFile status(QStringLiteral("/proc/self/status"));
  if (!status.open(QIODevice::ReadOnly))
    return 0;
  quint64 kib = 0;
  for (const QByteArray& line : status.readAll().split('\n'))
    if (line.startsWith("RssAnon:") || line.startsWith("RssShmem:"))
      kib += line.mid(line.indexOf(':') + 1).trimmed().split(' ').first().toULongLong();
  return kib * 1024;
}

QuantizeStage::QuantizeStage(Workbench& workbench, QWidget* parent)
    : QWidget(parent), workbench_(workbench) {
  pages_ = new QStackedWidget(this);
  empty_ = new EmptyState(tr("Nothing to quantize yet"), {}, pages_);
  pages_->addWidget(empty_);

  auto* page = new QWidget(pages_);
  auto* column = new QVBoxLayout(page);
  column->setContentsMargins(space::m, space::m, space::m, space::s);
  column->setSpacing(space::s);
  banner_ = new Banner(page);
  column->addWidget(banner_);
  column->addWidget(buildRun());

  auto* split = new QSplitter(Qt::Vertical, page);
  split->setChildrenCollapsible(false);
  split->setHandleWidth(space::s);
  chartCard_ =
      new Card(tr("Error of what is stored"),
               tr("Every bar is one module, in model order, coloured by its precision. The figures "
                  "come from the packed codes over the whole tensor."),
               split);
  chart_ = new ErrorChart(chartCard_);
  metric_ = new QComboBox(chartCard_);
  metric_->addItem(tr("SQNR (dB, higher is better)"), int(ErrorChart::Metric::sqnr));
  metric_->addItem(tr("Mean squared error"), int(ErrorChart::Metric::mse));
  metric_->addItem(tr("1 \u2212 cosine"), int(ErrorChart::Metric::cosine));
  metric_->addItem(tr("Largest error"), int(ErrorChart::Metric::worst));
  metric_->addItem(tr("Output lost on calibration text"), int(ErrorChart::Metric::output));
  metric_->setToolTip(tr("What the bars show. SQNR is the ratio of signal to quantization noise; "
                         "6 dB is about one bit"));
  metric_->setAccessibleName(tr("Error measure"));
  connect(metric_, &QComboBox::currentIndexChanged, this,
          [this] { chart_->setMetric(ErrorChart::Metric(metric_->currentData().toInt())); });
  chartCard_->addTool(metric_);
  const auto csv = [this] { return chart_->csv(); };
  addPictureMenu(chart_, QStringLiteral("error-by-module"), csv);
  chartCard_->addTool(
      makePictureButton(chart_, QStringLiteral("error-by-module"), csv, chartCard_));
  chartCard_->addBody(chart_);
  split->addWidget(chartCard_);
  split->addWidget(buildTable());
  split->setStretchFactor(0, 2);
  split->setStretchFactor(1, 3);
  column->addWidget(split, 1);
  column->addWidget(buildFooter());
  pages_->addWidget(page);

  auto* all = new QVBoxLayout(this);
  all->setContentsMargins(0, 0, 0, 0);
  all->addWidget(pages_);

  connect(&workbench_, &Workbench::opened, this, [this] {
    job_ = 0;
    refresh();
  });
  connect(&workbench_, &Workbench::planChanged, this, &QuantizeStage::refresh);
  connect(&workbench_, &Workbench::quantizeStarted, this, [this] {
    log_->clear();
    // The job is queued right after this signal.
    QMetaObject::invokeMethod(this, &QuantizeStage::followJob, Qt::QueuedConnection);
  });
  connect(&workbench_, &Workbench::moduleFinished, this, [this] {
    model_->update(workbench_.moduleResults());
    chart_->setRows(model_->rows());
  });
  connect(&workbench_, &Workbench::resultsChanged, this, &QuantizeStage::refresh);
  connect(&workbench_, &Workbench::selectionChanged, this, &QuantizeStage::selectInTable);
  connect(&workbench_, &Workbench::message, this, &QuantizeStage::log);
  connect(&workbench_.engine(), &EngineThread::logged, this, &QuantizeStage::log);
  connect(&workbench_.engine(), &EngineThread::progressed, this, &QuantizeStage::progress);
  connect(&workbench_.engine(), &EngineThread::deviceChanged, this, &QuantizeStage::refreshTiles);
  connect(chart_, &ErrorChart::clicked, this,
          [this](const QString& module) { workbench_.select({module}); });
  connect(&Theme::instance(), &Theme::changed, this, [this] { update(); });
  if (workbench_.quantizing()) // the stage is made when it is first looked at
    followJob();
  else
    refresh();
}

QWidget* QuantizeStage::buildRun() {
  auto* card = new QFrame(this);
  setRole(card, "card");
  auto* column = new QVBoxLayout(card);
  column->setContentsMargins(space::l, space::m, space::l, space::m);
  column->setSpacing(space::s);

  auto* head = new QHBoxLayout;
  auto* words = new QVBoxLayout;
  words->setSpacing(2);
  title_ = makeTitle({}, card);
  subtitle_ = makeCaption({}, card);
  words->addWidget(title_);
  words->addWidget(subtitle_);
  head->addLayout(words, 1);
  cancel_ = new QPushButton(tr("Cancel"), card);
  cancel_->setToolTip(tr("Stops after the current step; nothing half-done is kept (Esc)"));
  cancel_->setShortcut(QKeySequence(Qt::Key_Escape));
  connect(cancel_, &QPushButton::clicked, this, [this] { workbench_.engine().cancel(job_); });
  start_ = new QPushButton(tr("Quantize"), card);
  start_->setToolTip(tr("Runs the plan over every module and measures the error (Ctrl+Return)"));
  start_->setShortcut(QKeySequence(Qt::CTRL | Qt::Key_Return));
  start_->setMinimumWidth(120);
  setRole(start_, "primary");
  connect(start_, &QPushButton::clicked, this, [this] { workbench_.startQuantize(); });
  head->addWidget(cancel_, 0, Qt::AlignTop);
  head->addWidget(start_, 0, Qt::AlignTop);
  column->addLayout(head);

  bar_ = new QProgressBar(card);
  bar_->setTextVisible(false);
  bar_->setFixedHeight(8);
  bar_->setRange(0, 1000);
  bar_->setAccessibleName(tr("Progress of the run"));
  column->addWidget(bar_);
  sizes_ = new SizeBars(card);
  column->addWidget(sizes_);

  auto* tiles = new QHBoxLayout;
  tiles->setSpacing(space::l);
  const auto tile = [&](const QString& caption, const QString& tip, int stretch = 1) {
    auto* made = new FigureTile(caption, tip, card);
    tiles->addWidget(made, stretch);
    return made;
  };
  modulesTile_ = tile(tr("Modules"), tr("Modules whose weights are coded anew, of all modules that "
                                        "the plan changes"));
  bitsTile_ = tile(tr("Bits per weight"),
                   tr("8 times the tensor bytes over the parameters of the "
                      "whole model; below, over quantized modules only"),
                   2);
  timeTile_ = tile(tr("Time"), tr("Since the run began"));
  etaTile_ = tile(tr("Remaining"), tr("Estimated from the bytes done so far"));
  memoryTile_ =
      tile(tr("Memory"), tr("Anonymous and shared memory of this program now, against its "
                            "highest mark. Mapped checkpoint files do not count"));
  deviceTile_ = tile(tr("Device"), tr("Where the arithmetic runs"), 3);
  column->addSpacing(space::xs);
  column->addLayout(tiles);
  return card;
}

QWidget* QuantizeStage::buildTable() {
  tabs_ = new QTabWidget(this);
  tabs_->setDocumentMode(true);
  model_ = new ResultsModel(this);
  sorted_ = new QSortFilterProxyModel(this);
  sorted_->setSourceModel(model_);
  sorted_->setSortRole(sort_role);
  table_ = new QTableView(tabs_);
  table_->setModel(sorted_);
  table_->setSortingEnabled(true);
  table_->sortByColumn(ResultsModel::name, Qt::AscendingOrder);
  table_->setSelectionBehavior(QAbstractItemView::SelectRows);
  table_->setSelectionMode(QAbstractItemView::ExtendedSelection);
  table_->setEditTriggers(QAbstractItemView::NoEditTriggers);
  table_->setShowGrid(false);
  table_->setWordWrap(false);
  table_->setFrameShape(QFrame::NoFrame);
  table_->setAccessibleName(tr("Results by module"));
  table_->setTextElideMode(Qt::ElideLeft); // the end of a module's name tells it apart
  table_->setTabKeyNavigation(false);
  table_->verticalHeader()->hide();
  table_->verticalHeader()->setDefaultSectionSize(24);
  table_->setItemDelegateForColumn(ResultsModel::scheme, new ChipDelegate(table_));
  auto* bars = new BarDelegate(table_);
  for (const int column :
       {ResultsModel::bytes, ResultsModel::share, ResultsModel::sqnr, ResultsModel::mse,
        ResultsModel::cosine, ResultsModel::worst, ResultsModel::seconds, ResultsModel::output})
    table_->setItemDelegateForColumn(column, bars);
  QHeaderView* header = table_->horizontalHeader();
  header->setHighlightSections(false);
  header->setStretchLastSection(false);
  const int widths[ResultsModel::column_count] = {0, 122, 76, 70, 76, 68, 68, 74, 80, 78, 66};
  for (int at = 1; at < ResultsModel::column_count; ++at)
    header->resizeSection(at, widths[at]);
  header->setSectionResizeMode(ResultsModel::name, QHeaderView::Stretch);
  header->setMinimumSectionSize(52);
  // Names need room: what bars and tooltips say elsewhere is shown on demand.
  header->setContextMenuPolicy(Qt::ActionsContextMenu);
  for (int at = 1; at < ResultsModel::column_count; ++at) {
    auto* shown =
        new QAction(model_->headerData(at, Qt::Horizontal, Qt::DisplayRole).toString(), header);
    shown->setCheckable(true);
    shown->setChecked(at != ResultsModel::share && at != ResultsModel::worst &&
                      at != ResultsModel::cosine);
    table_->setColumnHidden(at, !shown->isChecked());
    connect(shown, &QAction::toggled, table_,
            [this, at](bool on) { table_->setColumnHidden(at, !on); });
    header->addAction(shown);
  }
  addTableMenu(table_, QStringLiteral("quantization"));
  connect(table_->selectionModel(), &QItemSelectionModel::selectionChanged, this, [this] {
    if (syncing_)
      return;
    QStringList modules;
    if (const QModelIndex current = table_->currentIndex(); current.isValid())
      modules << current.data(module_role).toString();
    for (const QModelIndex& index : table_->selectionModel()->selectedRows())
      if (const QString name = index.data(module_role).toString(); !modules.contains(name))
        modules << name;
    syncing_ = true;
    workbench_.select(modules);
    syncing_ = false;
    chart_->setSelection(modules);
  });
  tabs_->addTab(table_, tr("Modules"));
  tabs_->setTabToolTip(0, tr("Scheme, bytes and error of every module; click a heading to sort"));
  log_ = makeText(tr("Log"), tr("What happens during a run is written here"), tabs_);
  tabs_->addTab(log_, tr("Log"));
  tabs_->setTabToolTip(1, tr("Lines of the running job, newest last"));
  notes_ = makeText(tr("Notes"), tr("No notes: nothing fell back, was clipped or skipped"), tabs_);
  tabs_->addTab(notes_, tr("Notes"));
  tabs_->setTabToolTip(2, tr("Everything that went another way than asked, with the reason"));
  return tabs_;
}

QWidget* QuantizeStage::buildFooter() {
  auto* footer = new QWidget(this);
  auto* row = new QHBoxLayout(footer);
  row->setContentsMargins(space::xs, 0, 0, 0);
  folder_ = makeCaption({}, footer);
  folder_->setWordWrap(false);
  folder_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  folder_->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Preferred);
  row->addWidget(folder_, 1);
  openFolder_ = new QPushButton(tr("Open folder"), footer);
  openFolder_->setToolTip(tr("Shows the kept result in the file manager"));
  connect(openFolder_, &QPushButton::clicked, this,
          [this] { QDesktopServices::openUrl(QUrl::fromLocalFile(workbench_.resultFolder())); });
  clean_ = new QPushButton(tr("Clean up\u2026"), footer);
  clean_->setToolTip(tr("Removes kept results of earlier runs; the current one stays"));
  connect(clean_, &QPushButton::clicked, this, &QuantizeStage::cleanUp);
  row->addWidget(openFolder_);
  row->addWidget(clean_);
  return footer;
}

// --- state ------------------------------------------------------------------------------------

void QuantizeStage::followJob() {
  for (const JobStatus& status : workbench_.engine().jobs())
    if (status.tag == QLatin1String("quantize")) {
      job_ = status.id;
      break;
    }
  refresh();
}

JobStatus QuantizeStage::job() const {
  for (const JobStatus& status : workbench_.engine().jobs())
    if (status.id == job_ && job_ != 0)
      return status;
  return {};
}

QuantizeStage::State QuantizeStage::findState() const {
  if (!workbench_.checkpoint())
    return State::no_model;
  if (workbench_.quantizing())
    return State::running;
  if (workbench_.summary())
    return State::done;
  const JobStatus last = job();
  if (last.id && last.state == JobState::failed)
    return State::failed;
  if (!workbench_.plan() || plannedModules(*workbench_.plan()) == 0)
    return State::nothing_planned;
  if (last.id && last.state == JobState::cancelled)
    return State::cancelled;
  return State::ready;
}

QString QuantizeStage::advice(const QString& code) const {
  if (code == QLatin1String("no-space"))
    return tr("Free some space (\"Clean up\" removes earlier results) and run again.");
  if (code == QLatin1String("io"))
    return tr("Check that the disk can be written and the checkpoint read, then run again.");
  if (code == QLatin1String("out-of-memory"))
    return tr("Close other programs, or use the CPU backend, and run again.");
  if (code == QLatin1String("device-lost") || code == QLatin1String("no-device"))
    return tr("Choose the CPU as the device and run again.");
  if (code == QLatin1String("bad-file"))
    return tr(
        "The checkpoint holds values that cannot be coded: exclude the module in the plan, or "
        "get the file again.");
  return tr("Change the plan for the module that is named, or exclude it, and run again.");
}

void QuantizeStage::refresh() {
  state_ = findState();
  if (state_ == State::no_model)
    empty_->setTexts(
        tr("Nothing to quantize yet"),
        tr("Open a checkpoint first: drop a folder or a file on the window. Then choose "
           "precisions in Plan; this stage runs the plan and shows the error of every "
           "module as it is stored."));
  pages_->setCurrentIndex(state_ == State::no_model ? 0 : 1);
  refreshRows();
  refreshTexts();
  refreshTiles();
  refreshFooter();
  selectInTable();
}

void QuantizeStage::refreshTexts() {
  const Plan* plan = workbench_.plan();
  const QuantizeSummary* summary = workbench_.summary();
  const bool running = state_ == State::running;
  cancel_->setVisible(running);
  bar_->setVisible(running);
  start_->setEnabled(!running && plan && plannedModules(*plan) > 0);
  start_->setText(state_ == State::done ? tr("Quantize again") : tr("Quantize"));
  sizes_->setVisible(!running && (plan || summary));
  bool stale = false;

  switch (state_) {
  case State::no_model:
    break;
  case State::nothing_planned:
    title_->setText(plan ? tr("Nothing is planned") : tr("There is no plan"));
    subtitle_->setText(plan ? tr("Every module keeps its values. Choose a precision in Plan.")
                            : workbench_.planError());
    break;
  case State::ready:
  case State::cancelled:
    title_->setText(state_ == State::ready
                        ? tr("Ready to quantize %1 modules").arg(plannedModules(*plan))
                        : tr("Cancelled"));
    subtitle_->setText(
        (state_ == State::cancelled ? tr("Nothing was kept of the run that was stopped. ")
                                    : QString()) +
        tr("%1 becomes about %2 (%3 whole, %4 where quantized).")
            .arg(formatBytes(plan->bytes_before), formatBytes(plan->bytes_after),
                 formatBits(plan->bits_per_weight), formatBits(plan->bits_per_quantized_weight)));
    break;
  case State::running:
    title_->setText(tr("Quantizing\u2026"));
    subtitle_->setText(tr("Waiting for the thread that runs jobs"));
    break;
  case State::done:
    stale = workbench_.resultStale();
    title_->setText(tr("Quantized in %1").arg(formatDuration(summary->seconds)));
    subtitle_->setText(summary->notes.empty()
                           ? tr("No notes: every module went as planned.")
                           : tr("%1 notes: see the Notes tab.").arg(int(summary->notes.size())));
    break;
  case State::failed:
    title_->setText(tr("The run failed"));
    subtitle_->setText(tr("Nothing was kept. %1").arg(advice(job().error_code)));
    break;
  }

  const QString error = state_ == State::failed ? job().error : QString();
  const QString old = tr(
      "The recipe changed since this result was made. What is shown here, compared, measured and "
      "exported is the old result: quantize again to bring it up to date.");
  if (!error.isEmpty() && banner_->text() != error)
    banner_->say(2, error);
  else if (stale && banner_->text() != old)
    banner_->say(1, old);
  else if (error.isEmpty() && !stale)
    banner_->clear();

  std::map<double, quint64> byBits;
  for (const auto& row : model_->rows())
    byBits[row.bits] += row.after;
  if (summary) {
    sizes_->set(summary->bytes_before, byBits, false);
  } else if (plan) {
    sizes_->set(plan->bytes_before, byBits, true);
  }
  QStringList lines;
  if (summary)
    for (const std::string& note : summary->notes)
      lines << QString::fromStdString(note);
  else if (plan)
    for (const std::string& note : plan->notes)
      lines << QString::fromStdString(note);
  notes_->setPlainText(lines.join(QLatin1Char('\n')));
  tabs_->setTabText(2, lines.isEmpty() ? tr("Notes") : tr("Notes (%1)").arg(lines.size()));
}

void QuantizeStage::refreshTiles() {
  const Plan* plan = workbench_.plan();
  const QuantizeSummary* summary = workbench_.summary();
  if (summary) {
    modulesTile_->set(QString::number(model_->storedCount()),
                      tr("of %1 modules").arg(model_->rowCount()));
    bitsTile_->set(formatBits(summary->bits_per_weight),
                   tr("quantized: %1").arg(formatBits(summary->bits_per_quantized_weight)));
    timeTile_->set(formatDuration(summary->seconds),
                   summary->seconds > 0
                       ? formatRate(double(summary->bytes_before) / summary->seconds / 1e6, "MB")
                       : QString());
  } else if (plan) {
    const int planned = plannedModules(*plan);
    modulesTile_->set(state_ == State::running
                          ? tr("%1 of %2").arg(model_->storedCount()).arg(planned)
                          : QString::number(planned),
                      tr("of %1 modules").arg(model_->rowCount()));
    bitsTile_->set(formatBits(plan->bits_per_weight),
                   tr("quantized: %1").arg(formatBits(plan->bits_per_quantized_weight)));
    const JobStatus status = job();
    const bool running = state_ == State::running;
    timeTile_->set(running ? formatDuration(status.seconds) : QString(), QString());
  }
  const JobStatus status = job();
  etaTile_->setVisible(state_ == State::running);
  etaTile_->set(status.eta_seconds >= 0 ? formatDuration(status.eta_seconds) : tr("estimating"),
                status.total
                    ? tr("%1 of %2").arg(formatBytes(status.done), formatBytes(status.total))
                    : QString());
  const quint64 now = memoryInUse();
  memoryTile_->set(formatBytes(now),
                   tr("peak %1").arg(formatBytes(std::max<quint64>(now, peak_rss_bytes()))));
  if (summary) { // "cpu (AMD EPYC (avx512))"
    const QString backend = QString::fromStdString(summary->backend);
    const auto space = backend.indexOf(u' ');
    deviceTile_->set(backend.left(space) == u"cpu" ? tr("CPU") : tr("Vulkan"),
                     backend.mid(space + 2).chopped(1));
  } else {
    deviceTile_->set({}, workbench_.engine().deviceName());
  }
}

void QuantizeStage::refreshRows() {
  // While results stream in, a sorted view must not move under the reader's eyes.
  sorted_->setDynamicSortFilter(state_ != State::running);
  if (state_ == State::running) {
    if (workbench_.plan() && (model_->rowCount() == 0 || workbench_.moduleResults().empty()))
      model_->setPlan(*workbench_.plan());
    model_->update(workbench_.moduleResults());
  } else if (state_ == State::done) {
    model_->setResults(workbench_.moduleResults(), workbench_.checkpoint().get());
  } else if (workbench_.plan() && state_ != State::no_model) {
    model_->setPlan(*workbench_.plan());
  } else {
    model_->clear();
  }
  chart_->setRows(model_->rows());
  chartCard_->setReadout({});
  const ResultsModel::Row* worst = nullptr;
  for (const auto& row : model_->rows())
    if (row.state == ResultsModel::RowState::stored && (!worst || row.sqnr < worst->sqnr))
      worst = &row;
  if (worst && state_ == State::done)
    chartCard_->setReadout(
        tr("worst: %1, %2 dB").arg(worst->name, QString::number(worst->sqnr, 'f', 1)));
}

void QuantizeStage::progress() {
  if (state_ != State::running || !isVisible())
    return;
  const JobStatus status = job();
  if (status.total > 0)
    bar_->setValue(int(1000.0 * double(status.done) / double(status.total)));
  if (!status.step.isEmpty())
    subtitle_->setText(status.step);
  refreshTiles();
}

void QuantizeStage::selectInTable() {
  chart_->setSelection(workbench_.selection());
  if (syncing_)
    return;
  syncing_ = true;
  QItemSelection selection;
  QModelIndex current;
  for (const QString& module : workbench_.selection())
    if (const int row = model_->rowOf(module); row >= 0) {
      const QModelIndex at = sorted_->mapFromSource(model_->index(row, 0));
      selection.select(at, at);
      if (!current.isValid())
        current = at;
    }
  auto* chosen = table_->selectionModel();
  chosen->select(selection, QItemSelectionModel::ClearAndSelect | QItemSelectionModel::Rows);
  if (current.isValid()) {
    chosen->setCurrentIndex(current, QItemSelectionModel::NoUpdate);
    table_->scrollTo(current);
  }
  syncing_ = false;
}

void QuantizeStage::log(int level, const QString& line) {
  const char* mark = level == int(LogLevel::error)     ? "error    "
                     : level == int(LogLevel::warning) ? "warning  "
                                                       : "         ";
  log_->appendPlainText(QTime::currentTime().toString(QStringLiteral("HH:mm:ss  ")) +
                        QLatin1String(mark) + line);
}

// --- the kept result ----------------------------------------------------------------------------

void QuantizeStage::refreshFooter() {
  const QString folder = workbench_.resultFolder();
  openFolder_->setEnabled(!folder.isEmpty());
  folder_->setText(folder.isEmpty() ? tr("Results are kept in %1").arg(Workbench::keptFolder())
                                    : folder);
  folder_->setToolTip(tr("Kept results let you export one quantization to several formats"));
  struct Sizes {
    quint64 mine = 0, all = 0;
  };
  workbench_.engine().run<Sizes>(
      QStringLiteral("kept-size"), tr("Size of kept results"), this,
      [folder, root = Workbench::keptFolder()](Feedback& feedback, Compute&) -> Result<Sizes> {
        Sizes sizes;
        QDirIterator files(root, QDir::Files, QDirIterator::Subdirectories);
        while (files.hasNext()) {
          if (feedback.stopped())
            return cancelled_error();
          files.next();
          const auto size = quint64(files.fileInfo().size());
          sizes.all += size;
          if (!folder.isEmpty() && files.filePath().startsWith(folder + QLatin1Char('/')))
            sizes.mine += size;
        }
        return sizes;
      },
      [this, folder](Result<Sizes> sizes) {
        if (!sizes.ok() || folder != workbench_.resultFolder())
          return;
        clean_->setEnabled(sizes->all > sizes->mine);
        if (folder.isEmpty())
          folder_->setText(tr("Results are kept in %1 (%2 now)")
                               .arg(Workbench::keptFolder(), formatBytes(sizes->all)));
        else
          folder_->setText(tr("Kept: %1 in %2").arg(formatBytes(sizes->mine), folder));
        clean_->setToolTip(tr("Removes kept results of earlier runs (%1); the current one stays")
                               .arg(formatBytes(sizes->all - sizes->mine)));
      },
      false);
}

void QuantizeStage::cleanUp() {
  auto* question = new QMessageBox(QMessageBox::Question, tr("Clean up"),
                                   tr("Remove the kept results and statistics of earlier runs?"),
                                   QMessageBox::Cancel, this);
  question->setInformativeText(
      tr("The current result stays. Saved sessions that use a removed result will have to quantize "
         "again. Exports are not touched."));
  question->addButton(tr("Remove"), QMessageBox::DestructiveRole);
  question->setAttribute(Qt::WA_DeleteOnClose);
  connect(question, &QMessageBox::buttonClicked, this, [this, question](QAbstractButton* button) {
    if (question->buttonRole(button) != QMessageBox::DestructiveRole)
      return;
    workbench_.cleanKept();
    // The size is asked for again once the removal is done.
    auto* waiting = new QObject(this);
    connect(&workbench_.engine(), &EngineThread::jobChanged, waiting, [this, waiting](JobId id) {
      for (const JobStatus& status : workbench_.engine().jobs())
        if (status.id == id && status.tag == QLatin1String("clean") &&
            status.state != JobState::running) {
          refreshFooter();
          waiting->deleteLater();
        }
    });
  });
  question->open();
}

} // namespace bitlathe::gui
