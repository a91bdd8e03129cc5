// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/evaluate/speed_page.h"

#include "app/gui/evaluate/page_parts.h"
#include "app/gui/evaluate/speed_chart.h"
#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/card.h"
#include "app/gui/widgets/save_menu.h"

#include <cmath>
#include <mutex>
#include <QComboBox>
#include <QHeaderView>
#include <QLabel>
#include <QLineEdit>
#include <QProgressBar>
#include <QPushButton>
#include <QRegularExpressionValidator>
#include <QSpinBox>
#include <QSplitter>
#include <QStandardItemModel>
#include <QTableView>
#include <QToolButton>
#include <QVBoxLayout>

namespace bitlathe::gui {
namespace {

const QString stage_key = QStringLiteral("speed");
const QString job_tag = QStringLiteral("speed");
const QString dash = QStringLiteral("\u2013");

QString spreadText(const Spread& spread, int digits = 3) {
  if (spread.runs.empty())
    return dash;
  return QStringLiteral("%1  (%2\u2013%3)")
      .arg(formatNumber(spread.median(), digits), formatNumber(spread.low(), digits),
           formatNumber(spread.high(), digits));
}

struct Head {
  QString title, tip;
};

void setHeads(QStandardItemModel* model, const QList<Head>& heads) {
  model->setColumnCount(int(heads.size()));
  for (int i = 0; i < heads.size(); ++i) {
    model->setHeaderData(i, Qt::Horizontal, heads[i].title);
    model->setHeaderData(i, Qt::Horizontal, heads[i].tip, Qt::ToolTipRole);
    model->setHeaderData(i, Qt::Horizontal,
                         int((i == 0 ? Qt::AlignLeft : Qt::AlignRight) | Qt::AlignVCenter),
                         Qt::TextAlignmentRole);
  }
}

} // namespace

/// What the job's thread leaves for the window.
struct SpeedPage::Running {
  std::mutex mutex;
  std::optional<SpeedReport> report;
};

SpeedPage::SpeedPage(Workbench& workbench, QWidget* parent)
    : QWidget(parent), workbench_(workbench), running_(std::make_shared<Running>()) {
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(0, space::s, 0, 0);
  column->setSpacing(space::s);
  column->addWidget(buildControls());
  memory_ = new QStandardItemModel(this);
  points_ = new QStandardItemModel(this);
  setHeads(memory_,
           {{tr("Model"), {}},
            {tr("Tensors"), tr("All tensors of the model as they are stored")},
            {tr("On disk"), tr("Its files; a kept result holds only what was quantized")},
            {tr("Ready"), tr("Memory of its own when it is ready to run, mapped files apart")},
            {tr("Peak"), tr("The most during all runs, keys and values of all sequences included")},
            {tr("KV per token"), tr("Keys and values of one more token of one sequence")},
            {tr("Load"), tr("Time until it is ready to run")}});
  setHeads(points_, {{tr("Model"), {}},
                     {tr("Prompt"), tr("Tokens of a prompt")},
                     {tr("Seq."), tr("Sequences at once")},
                     {tr("Prompt tok/s"), tr("Prompt tokens of all sequences per second")},
                     {tr("Generated tok/s"), tr("Generated tokens of all sequences per second")},
                     {tr("First token (s)"), tr("Until the last sequence has its first token")}});
  memoryCard_ = new Card(tr("Size and memory"),
                         tr("What a model takes: on disk, ready to run, and at most during all "
                            "runs. Mapped files are not counted: the system may drop them"),
                         this);
  memoryTable_ =
      makeFiguresTable(memory_, tr("Size and memory"), QStringLiteral("memory"), memoryCard_);
  memoryCard_->addBody(memoryTable_);
  memoryCard_->setSizePolicy(QSizePolicy::Preferred, QSizePolicy::Maximum);
  column->addWidget(memoryCard_);

  auto* split = new QSplitter(Qt::Horizontal, this);
  split->setChildrenCollapsible(false);
  split->setHandleWidth(space::s);
  chartCard_ = new Card(tr("Speed"),
                        tr("Median of the runs; the thin line goes from the slowest to the "
                           "fastest. \u00d7 16: sixteen sequences at once"),
                        split);
  auto* measure = new QComboBox(chartCard_);
  measure->addItems({tr("Generated tok/s"), tr("Prompt tok/s"), tr("First token (s)")});
  measure->setAccessibleName(tr("Speed measure"));
  measure->setToolTip(tr("Tokens of all sequences together per second; or how long the first token "
                         "takes"));
  chart_ = new SpeedChart(chartCard_);
  chart_->setAccessibleName(tr("Speed"));
  connect(measure, &QComboBox::currentIndexChanged, this,
          [this](int index) { chart_->setMeasure(SpeedChart::Measure(index)); });
  chartCard_->addTool(measure);
  const auto csv = [this] { return modelToCsv(*points_); };
  addPictureMenu(chart_, QStringLiteral("speed"), csv);
  chartCard_->addTool(makePictureButton(chart_, QStringLiteral("speed"), csv, chartCard_));
  chartCard_->addBody(chart_);
  split->addWidget(chartCard_);
  pointsCard_ =
      new Card(tr("All runs"), tr("Median, with the slowest and fastest run in brackets"), split);
  pointsTable_ = makeFiguresTable(points_, tr("All runs"), QStringLiteral("speed"), pointsCard_);
  pointsCard_->addBody(pointsTable_);
  for (QTableView* table : {memoryTable_, pointsTable_}) {
    table->horizontalHeader()->setSectionResizeMode(QHeaderView::ResizeToContents);
    table->horizontalHeader()->setSectionResizeMode(0, QHeaderView::Stretch);
  }
  split->addWidget(pointsCard_);
  split->setSizes({700, 1000});
  column->addWidget(split, 1);
  remark_ = makeCaption({}, this);
  column->addWidget(remark_);

  connect(&workbench_, &Workbench::opened, this, &SpeedPage::restore);
  connect(&workbench_, &Workbench::contendersChanged, this, &SpeedPage::refresh);
  connect(&Theme::instance(), &Theme::changed, chart_, qOverload<>(&QWidget::update));
  connect(&workbench_.engine(), &EngineThread::progressed, this, &SpeedPage::drain);
  restore();
}

SpeedPage::~SpeedPage() = default;

QWidget* SpeedPage::buildControls() {
  auto* card = new QFrame(this);
  setRole(card, "card");
  auto* column = new QVBoxLayout(card);
  column->setContentsMargins(space::m, space::s, space::m, space::s);
  auto* row = new QHBoxLayout;
  row->setSpacing(space::xs + 2);
  const auto label = [row](const QString& text, QWidget* field, const QString& tip) {
    addLabelled(row, text, field, tip);
  };
  const auto list = [card](const QString& text) {
    auto* edit = new QLineEdit(text, card);
    edit->setValidator(new QRegularExpressionValidator(
        QRegularExpression(QStringLiteral("[0-9]{1,7}([ ,;]+[0-9]{1,7})*[ ,;]*")), edit));
    edit->setMaximumWidth(130);
    return edit;
  };
  contexts_ = list(QStringLiteral("128, 512"));
  label(tr("Prompt lengths"), contexts_, tr("Tokens of the prompts, several with commas"));
  batches_ = list(QStringLiteral("1, 4, 16"));
  label(tr("Sequences"), batches_,
        tr("How many texts are written at the same time; their steps are computed together"));
  new_tokens_ = new QSpinBox(card);
  new_tokens_->setRange(2, 4096);
  new_tokens_->setValue(32);
  label(tr("New tokens"), new_tokens_, tr("Tokens generated for each sequence"));
  repeat_ = new QSpinBox(card);
  repeat_->setRange(1, 100);
  repeat_->setValue(3);
  label(tr("Runs"), repeat_, tr("Timed runs of every point, after one that warms up"));
  row->addStretch(1);
  stop_ = new QPushButton(tr("Stop"), card);
  stop_->setToolTip(tr("Stops measuring; points that are measured stay on screen"));
  connect(stop_, &QPushButton::clicked, this, &SpeedPage::stop);
  row->addWidget(stop_);
  measure_ = new QPushButton(tr("Measure speed"), card);
  setRole(measure_, "primary");
  measure_->setToolTip(tr("Runs all models one after the other; best while nothing else runs"));
  connect(measure_, &QPushButton::clicked, this, &SpeedPage::measure);
  row->addWidget(measure_);
  column->addLayout(row);
  bar_ = new QProgressBar(card);
  bar_->setTextVisible(false);
  bar_->setFixedHeight(6);
  bar_->setRange(0, 1000);
  bar_->setAccessibleName(tr("Progress of the measurement"));
  bar_->hide();
  column->addWidget(bar_);
  return card;
}

void SpeedPage::setOptions(const QString& contexts, const QString& batches, int repeat) {
  contexts_->setText(contexts);
  batches_->setText(batches);
  repeat_->setValue(repeat);
}

std::optional<std::vector<std::int64_t>> SpeedPage::numbers(const QLineEdit* edit,
                                                            const QString& name) {
  static const QRegularExpression gaps(QStringLiteral("[ ,;]+"));
  std::vector<std::int64_t> out;
  for (const QString& part : edit->text().split(gaps, Qt::SkipEmptyParts)) {
    bool number = false;
    out.push_back(part.toLongLong(&number));
    if (!number || out.back() < 1) {
      out.clear();
      break;
    }
  }
  if (!out.empty())
    return out;
  Q_EMIT workbench_.message(int(LogLevel::error),
                            tr("%1: whole numbers with commas between them").arg(name));
  return std::nullopt;
}

void SpeedPage::restore() {
  measuring_ = false;
  running_ = std::make_shared<Running>(); // what runs for another model goes unheard
  report_ =
      workbench_.checkpoint() ? speed_from_json(workbench_.stageState(stage_key)) : SpeedReport();
  refresh();
}

void SpeedPage::refresh() {
  const auto& model = workbench_.checkpoint();
  measure_->setEnabled(model && model->spec && !measuring_);
  stop_->setVisible(measuring_);
  bar_->setVisible(measuring_);
  const auto contenders = workbench_.contenders();
  QList<int> colors;
  for (const SpeedResult& result : report_.models) {
    int place = int(colors.size());
    for (int i = 0; i < contenders.size(); ++i)
      if (contenders[i].checkpoint->path.string() == result.path)
        place = i;
    colors.append(place);
  }
  chart_->setReport(report_, colors);

  memory_->removeRows(0, memory_->rowCount());
  points_->removeRows(0, points_->rowCount());
  QStringList remarks;
  for (const SpeedResult& result : report_.models) {
    const QString title = QString::fromStdString(result.title);
    addFiguresRow(memory_,
                  {title, formatBytes(result.bytes),
                   result.disk_bytes > 0 ? formatBytes(result.disk_bytes) : dash,
                   result.points.empty() ? dash : formatBytes(result.steady_bytes),
                   result.points.empty() ? dash : formatBytes(result.peak_bytes),
                   result.kv_bytes_per_token > 0
                       ? QStringLiteral("%1 (%2)").arg(formatBytes(result.kv_bytes_per_token),
                                                       QString::fromStdString(result.kv_keys))
                       : dash,
                   result.points.empty() ? dash : formatDuration(result.load_seconds)},
                  1, QString::fromStdString(result.path));
    for (const SpeedPoint& point : result.points)
      addFiguresRow(points_,
                    {title, formatGrouped(point.context), QString::number(point.batch),
                     point.problem.empty() ? spreadText(point.prompt_rate) : tr("left out"),
                     spreadText(point.rate), spreadText(point.first_seconds)},
                    1, QString::fromStdString(point.problem));
    for (const std::string& note : result.notes)
      if (const QString text = QString::fromStdString(note) + '.'; !remarks.contains(text))
        remarks.append(text);
  }
  const int rows = std::max(1, memory_->rowCount());
  memoryTable_->setFixedHeight(
      memoryTable_->horizontalHeader()->sizeHint().height() +
      memoryTable_->verticalHeader()->defaultSectionSize() * std::min(rows, 4) + 4);
  if (!report_.measured.empty())
    remarks.prepend(tr("Measured on %1 with %n threads.", nullptr, report_.threads)
                        .arg(QString::fromStdString(report_.backend)));
  else if (!measuring_)
    remarks.append(tr("Measures every compared model on this machine: prompts and generation, one "
                      "sequence and several at once, with the spread of repeated runs."));
  remark_->setText(remarks.join(' '));
  for (QTableView* table : {memoryTable_, pointsTable_})
    table->resizeColumnsToContents(); // rows that come while a table is laid out do not widen it
}

void SpeedPage::measure() {
  const auto contenders = workbench_.contenders();
  if (contenders.isEmpty() || measuring_)
    return;
  SpeedOptions options;
  const auto contexts = numbers(contexts_, tr("Prompt lengths"));
  const auto batches = numbers(batches_, tr("Sequences"));
  if (!contexts || !batches)
    return;
  options.contexts = *contexts;
  options.batches = *batches;
  options.repeat = repeat_->value();
  options.new_tokens = new_tokens_->value();
  std::vector<SpeedModel> models;
  for (const Contender& contender : contenders)
    models.push_back({contender.title.toStdString(), contender.checkpoint});
  measuring_ = true;
  report_ = {};
  refresh();
  workbench_.engine().run<SpeedReport>(
      job_tag, tr("Measuring speed"), this,
      [models, options, running = running_](Feedback& feedback,
                                            Compute& compute) -> Result<SpeedReport> {
        return measure_speed(models, compute, options, feedback, [&](const SpeedReport& now) {
          const std::lock_guard lock(running->mutex);
          running->report = now;
        });
      },
      [this, model = workbench_.checkpoint()](Result<SpeedReport> done) {
        if (model != workbench_.checkpoint())
          return;
        drain();
        measuring_ = false;
        if (done)
          report_ = std::move(*done);
        else if (!done.error().cancelled())
          Q_EMIT workbench_.message(int(LogLevel::error),
                                    QString::fromStdString(done.error().text()));
        if (!report_.models.empty())
          workbench_.setStageState(stage_key,
                                   Json::parse(speed_to_json(report_).dump(
                                       -1, ' ', false, OrderedJson::error_handler_t::replace)));
        refresh();
      });
}

void SpeedPage::drain() {
  if (!measuring_)
    return;
  std::optional<SpeedReport> now;
  {
    const std::lock_guard lock(running_->mutex);
    now.swap(running_->report);
  }
  if (now) {
    report_ = std::move(*now);
    refresh();
  }
  if (const int share = jobProgress(workbench_.engine(), job_tag); share >= 0)
    bar_->setValue(share);
}

void SpeedPage::stop() { cancelJobs(workbench_.engine(), job_tag); }

} // namespace bitlathe::gui
