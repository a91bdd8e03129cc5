// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/attribution/attribution_page.h"

#include "app/gui/attribution/curves_view.h"
#include "app/gui/evaluate/evaluation_text.h"
#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/tree/module_menu.h"
#include "app/gui/widgets/card.h"
#include "app/gui/widgets/empty_state.h"
#include "app/gui/widgets/save_menu.h"
#include "app/gui/widgets/standing_remark.h"

#include <algorithm>
#include <cmath>
#include <QComboBox>
#include <QLabel>
#include <QLineEdit>
#include <QMenu>
#include <QProgressBar>
#include <QPushButton>
#include <QScrollArea>
#include <QSplitter>
#include <QStackedWidget>
#include <QToolButton>
#include <QVBoxLayout>

namespace bitlathe::gui {

namespace {

const char* const usual_schemes = "int2-g64-asym, int3-g128-asym, int4-g128-asym, int8-channel-sym";

QComboBox* makeBox(const QStringList& items, const QString& name, const QString& tip,
                   QWidget* parent) {
  auto* box = new QComboBox(parent);
  box->addItems(items);
  box->setAccessibleName(name);
  box->setToolTip(tip);
  return box;
}

} // namespace

AttributionPage::AttributionPage(Workbench& workbench, QWidget* parent)
    : QWidget(parent), workbench_(workbench), attribution_(Attribution::of(workbench)) {
  pages_ = new QStackedWidget(this);
  empty_ = new EmptyState({}, {}, pages_);
  emptyAction_ = empty_->addAction(tr("Measure schemes"),
                                   tr("Stores every module in a few schemes, one at a time, and "
                                      "measures what each does to the original"),
                                   [this] { measureCurves(); });
  pages_->addWidget(empty_);
  auto* page = new QWidget(pages_);
  auto* column = new QVBoxLayout(page);
  column->setContentsMargins(0, space::s, 0, 0);
  column->setSpacing(space::s);
  banner_ = new Banner(page);
  column->addWidget(banner_);
  column->addWidget(buildControls());
  auto* split = new QSplitter(Qt::Horizontal, page);
  split->setChildrenCollapsible(false);
  split->setHandleWidth(space::s);
  split->addWidget(buildBars());
  split->addWidget(buildCurves());
  split->setSizes({1100, 800});
  column->addWidget(split, 1);
  pages_->addWidget(page);
  auto* all = new QVBoxLayout(this);
  all->setContentsMargins(0, 0, 0, 0);
  all->addWidget(pages_);

  connect(&attribution_, &Attribution::changed, this, &AttributionPage::refresh);
  connect(&workbench_, &Workbench::opened, this, &AttributionPage::refresh);
  connect(&workbench_, &Workbench::recipeChanged, this, &AttributionPage::refreshControls);
  connect(&workbench_, &Workbench::resultsChanged, this, &AttributionPage::refreshControls);
  connect(&EvaluationText::of(workbench_), &EvaluationText::changed, this,
          &AttributionPage::refreshControls);
  connect(&workbench_.engine(), &EngineThread::progressed, this, &AttributionPage::progress);
  connect(&workbench_, &Workbench::selectionChanged, this, [this] {
    bars_->setSelection(workbench_.selection());
    curves_->setSelection(workbench_.selection());
  });
  refresh();
}

// --- building -----------------------------------------------------------------------------------

QWidget* AttributionPage::buildControls() {
  auto* box = new QWidget(this);
  auto* column = new QVBoxLayout(box);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(space::xs);
  auto* row = new QHBoxLayout;
  row->setSpacing(space::s);
  const auto label = [&](const QString& text, QWidget* buddy) {
    auto* made = new QLabel(text, box);
    made->setFont(smallFont());
    setRole(made, "muted");
    made->setBuddy(buddy);
    made->setToolTip(buddy->toolTip());
    row->addWidget(made);
    row->addWidget(buddy);
  };
  candidate_ = makeBox({}, tr("Candidate"),
                       tr("The quantized model whose modules are put into the original, one at a "
                          "time"),
                       box);
  candidate_->setSizeAdjustPolicy(QComboBox::AdjustToContents);
  candidate_->setMaximumWidth(260);
  label(tr("Candidate"), candidate_);
  mode_ = makeBox({tr("one in"), tr("one back"), tr("both")}, tr("What is exchanged"),
                  tr("One in: the original with one module of the candidate, what that module "
                     "costs alone.\nOne back: the candidate with one module of the original, what "
                     "raising that module would save.\nWhere costs simply add, both say the same"),
                  box);
  label(tr("Exchange"), mode_);
  share_ =
      makeBox({tr("all"), tr("half"), tr("a quarter"), tr("none, predict")},
              tr("How many modules are measured"),
              tr("Modules that are not measured are predicted from gradients and the change of "
                 "their weights; how far predictions are off is measured and said"),
              box);
  label(tr("Measure"), share_);
  step_ = new QLabel(box);
  step_->setFont(smallFont());
  setRole(step_, "muted");
  step_->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Preferred);
  step_->setAlignment(Qt::AlignRight | Qt::AlignVCenter);
  row->addWidget(step_, 1);
  stop_ = new QPushButton(tr("Stop"), box);
  stop_->setToolTip(tr("Stops at once; what is measured stays, and goes on from there next time"));
  connect(stop_, &QPushButton::clicked, &attribution_, &Attribution::stop);
  row->addWidget(stop_);
  measure_ = new QPushButton(tr("Find out"), box);
  setRole(measure_, "primary");
  measure_->setShortcut(QKeySequence(Qt::CTRL | Qt::SHIFT | Qt::Key_A));
  connect(measure_, &QPushButton::clicked, this, &AttributionPage::measure);
  row->addWidget(measure_);
  column->addLayout(row);
  bar_ = new QProgressBar(box);
  bar_->setTextVisible(false);
  bar_->setFixedHeight(6);
  bar_->setRange(0, 1000);
  bar_->setAccessibleName(tr("Progress of the attribution"));
  bar_->hide();
  column->addWidget(bar_);
  return box;
}

QWidget* AttributionPage::buildBars() {
  barsCard_ = new Card(tr("Which layer did it?"),
                       tr("Divergence of the original with one module exchanged; whiskers are one "
                          "standard error to each side, hatched bars are predicted"),
                       this);
  auto* tools = new QWidget(barsCard_);
  auto* line = new QHBoxLayout(tools);
  line->setContentsMargins(0, 0, 0, 0);
  line->setSpacing(space::xs + 2);
  filter_ = new QLineEdit(barsCard_);
  filter_->setPlaceholderText(tr("Filter"));
  filter_->setClearButtonEnabled(true);
  filter_->setMinimumWidth(70);
  filter_->setAccessibleName(tr("Filter of bars and lines"));
  filter_->setToolTip(
      tr("Words that must all occur in name, role or scheme: \"3. mlp\", \"down\""));
  line->addWidget(filter_, 1);
  level_ = makeBox({tr("Modules"), tr("Blocks"), tr("Roles")}, tr("What a bar stands for"),
                   tr("A module; all of a block; or all modules of one role, such as every "
                      "down_proj. Groups are measured as such, not added up"),
                   barsCard_);
  line->addWidget(level_);
  value_ = makeBox({tr("Cost"), tr("Saving"), tr("Cost per MiB")}, tr("What a bar shows"),
                   tr("Cost: KL divergence with only this from the candidate. Saving: how much the "
                      "candidate's KL falls when this is put back (needs \"one back\"). Cost per "
                      "MiB: the first, by the room it takes now"),
                   barsCard_);
  line->addWidget(value_);
  colour_ =
      makeBox({tr("by role"), tr("by precision")}, tr("Colour of bars"),
              tr("Bars are coloured by the role of the module or by its precision"), barsCard_);
  line->addWidget(colour_);
  scale_ = makeBox({tr("linear"), tr("log")}, tr("Scale"),
                   tr("Linear shows what counts, logarithmic what there is"), barsCard_);
  line->addWidget(scale_);

  scroll_ = new QScrollArea(barsCard_);
  scroll_->setWidgetResizable(true);
  scroll_->setFrameShape(QFrame::NoFrame);
  scroll_->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  bars_ = new BarsView;
  scroll_->setWidget(bars_);
  scroll_->viewport()->setAutoFillBackground(false);
  bars_->setAutoFillBackground(false);
  barsCard_->addTool(makePictureButton(
      bars_, QStringLiteral("which-layer"), [this] { return bars_->csv(); }, barsCard_));
  barsCard_->addBody(tools, 0);
  barsCard_->addBody(scroll_);
  words_ = makeCaption({}, barsCard_);
  words_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  words_->setAccessibleName(tr("What the bars say"));
  barsCard_->addBody(words_, 0);

  connect(filter_, &QLineEdit::textChanged, this, [this](const QString& text) {
    bars_->setFilter(text);
    curves_->setFilter(text);
  });
  connect(level_, &QComboBox::currentIndexChanged, this,
          [this](int index) { bars_->setLevel(BarsView::Level(index)); });
  connect(value_, &QComboBox::currentIndexChanged, this,
          [this](int index) { bars_->setValue(BarsView::Value(index)); });
  connect(colour_, &QComboBox::currentIndexChanged, this,
          [this](int index) { bars_->setColour(BarsView::Colour(index)); });
  connect(scale_, &QComboBox::currentIndexChanged, this,
          [this](int index) { bars_->setLogarithmic(index == 1); });
  connect(bars_, &BarsView::clicked, this,
          [this](const QStringList& modules) { workbench_.select(modules); });
  connect(bars_, &BarsView::raiseWanted, this, &AttributionPage::raise);
  connect(bars_, &BarsView::menuWanted, this, &AttributionPage::showMenu);
  connect(bars_, &BarsView::shouldShow, this, [this](const QRect& place) {
    scroll_->ensureVisible(0, place.center().y(), 0, place.height());
  });
  return barsCard_;
}

QWidget* AttributionPage::buildCurves() {
  curvesCard_ = new Card(tr("Other precisions"),
                         tr("What every module would cost at another precision: stored in memory, "
                            "put into the original alone, measured on the same text"),
                         this);
  curves_ = new CurvesView(curvesCard_);
  const auto csv = [this] { return curves_->csv(); };
  addPictureMenu(curves_, QStringLiteral("module-curves"), csv);
  measureCurves_ = new QPushButton(tr("Measure"), curvesCard_);
  measureCurves_->setToolTip(tr("Measures every module in each of these schemes; what is known "
                                "already is kept"));
  measureCurves_->setAccessibleName(tr("Measure schemes"));
  connect(measureCurves_, &QPushButton::clicked, this, &AttributionPage::measureCurves);
  schemes_ = new QLineEdit(QString::fromUtf8(usual_schemes), curvesCard_);
  schemes_->setToolTip(
      tr("Schemes with commas between them, such as int4-g128-asym, q4_k, nf4-b64"));
  schemes_->setAccessibleName(tr("Schemes to measure"));
  schemes_->setCursorPosition(0);
  connect(schemes_, &QLineEdit::returnPressed, this, &AttributionPage::measureCurves);
  curvesCard_->addTool(
      makePictureButton(curves_, QStringLiteral("module-curves"), csv, curvesCard_));
  auto* row = new QWidget(curvesCard_);
  auto* line = new QHBoxLayout(row);
  line->setContentsMargins(0, 0, 0, 0);
  line->setSpacing(space::s);
  line->addWidget(schemes_, 1);
  line->addWidget(measureCurves_);
  curvesCard_->addBody(row, 0);
  curvesCard_->addBody(curves_);
  curveWords_ = makeCaption({}, curvesCard_);
  curvesCard_->addBody(curveWords_, 0);
  connect(curves_, &CurvesView::clicked, this,
          [this](const QStringList& modules) { workbench_.select(modules); });
  return curvesCard_;
}

// --- state --------------------------------------------------------------------------------------

void AttributionPage::refresh() {
  const auto& report = attribution_.report();
  bars_->setReport(report);
  curves_->setReport(report);
  bars_->setSelection(workbench_.selection());
  curves_->setSelection(workbench_.selection());
  refreshControls();
  refreshWords();
}

void AttributionPage::refreshControls() {
  const auto& model = workbench_.checkpoint();
  const QStringList candidates = attribution_.candidates();
  QStringList shown;
  for (int i = 0; i < candidate_->count(); ++i)
    shown.append(candidate_->itemText(i));
  if (shown != candidates) {
    const QString old = candidate_->currentText();
    candidate_->clear();
    candidate_->addItems(candidates);
    candidate_->setCurrentIndex(std::max(0, int(candidates.indexOf(old))));
  }
  const bool runs = model && model->spec && !EvaluationText::of(workbench_).choice().path.isEmpty();
  const bool running = attribution_.running();
  const bool stale = attribution_.stale();
  const bool again = attribution_.report() && !attribution_.report()->rows.empty();
  measure_->setEnabled(runs && !running && !candidates.isEmpty() && !workbench_.quantizing());
  measure_->setText(stale && workbench_.resultStale() ? tr("Quantize and measure again")
                    : again                           ? tr("Measure again")
                                                      : tr("Find out"));
  measure_->setToolTip(
      stale && workbench_.resultStale()
          ? tr("Makes the model that the recipe describes now, then measures only the modules that "
               "changed (Ctrl+Shift+A)")
          : tr("Exchanges one module after the other, the cheap ones first; what has not changed "
               "since the last time is not measured again (Ctrl+Shift+A)"));
  measureCurves_->setEnabled(runs && !running && !schemes_->text().trimmed().isEmpty());
  emptyAction_->setVisible(runs && !running);
  stop_->setVisible(running);
  bar_->setVisible(running);
  if (!running)
    step_->clear();
  for (QWidget* widget : {static_cast<QWidget*>(candidate_), static_cast<QWidget*>(mode_),
                          static_cast<QWidget*>(share_)})
    widget->setEnabled(!running && !candidates.isEmpty());
  if (!running)
    bar_->setValue(0);
  keepSaying(*banner_, !attribution_.problem().isEmpty(), 2, attribution_.problem());
  keepSaying(*banner_, attribution_.problem().isEmpty() && stale && workbench_.resultStale(), 0,
             tr("The recipe has changed since: bars show the model as it was made. Measuring again "
                "quantizes and then measures only what changed."));

  const bool anything = attribution_.report() || running || !candidates.isEmpty();
  if (!model)
    empty_->setTexts(tr("Which layer did it?"),
                     tr("Open a checkpoint and quantize it: then its modules can be put into the "
                        "original one at a time, to see what each of them costs."));
  else if (!model->spec)
    empty_->setTexts(tr("This model cannot be run"),
                     QString::fromStdString(model->why_not_runnable));
  else
    empty_->setTexts(tr("Which layer did it?"),
                     tr("Quantize the model, or add a checkpoint in Compare, to see what every "
                        "module of it costs. Or measure now what schemes would do to each module, "
                        "before anything is quantized."));
  pages_->setCurrentIndex(model && model->spec && anything ? 1 : 0);
}

void AttributionPage::refreshWords() {
  const auto& report = attribution_.report();
  if (!report || (report->rows.empty() && !report->control)) {
    words_->setText(attribution_.running() ? QString()
                                           : tr("Find out exchanges one module at a time between "
                                                "the original and the candidate."));
    barsCard_->setReadout({});
  } else {
    QStringList text;
    if (report->control)
      text.append(report->control.kld <= 1e-12
                      ? tr("Control: with nothing exchanged the KL is 0, as it must be.")
                      : tr("Control: with nothing exchanged the KL is %1: results vary on this "
                           "device, and smaller bars mean nothing.")
                            .arg(formatNumber(report->control.kld, 2)));
    if (report->whole)
      text.append(tr("The whole candidate: KL %1.")
                      .arg(formatError(report->whole.kld, report->whole.kld_stderr)));
    const auto ratio = [](double value, double error) {
      return error >= 0 ? formatError(value, error) : formatNumber(value, 3);
    };
    if (report->all_alone && report->whole.kld > 0) {
      const double off = std::abs(report->ratio_alone - 1), error = report->ratio_alone_stderr;
      const QString sum = ratio(report->ratio_alone, error);
      text.append(off < 0.1 ? tr("One at a time the parts come to %1 times that: costs add up, and "
                                 "a bar says about what raising it saves.")
                                  .arg(sum)
                  : error >= 0 && off <= 2 * error
                      ? tr("One at a time the parts come to %1 times that: on this much text costs "
                           "cannot be told from adding up.")
                            .arg(sum)
                      : tr("One at a time the parts come to %1 times that: they act on each other, "
                           "and a bar is only a guide to what raising it saves.")
                            .arg(sum));
    }
    if (report->all_fall && report->whole.kld > 0)
      text.append(tr("Put back one at a time they save %1 times that.")
                      .arg(ratio(report->ratio_fall, report->ratio_fall_stderr)));
    int modules = 0, within = 0, predicted = 0, kept = 0;
    for (const AttributionRow& row : report->rows) {
      modules += row.kind == "module";
      predicted += row.kind == "module" && !row.alone && row.predicted;
      kept += row.kept;
      within += row.kind == "module" && row.alone && row.alone.kld <= report->noise_floor;
    }
    if (within > 0)
      text.append(
          tr("%n module(s) lie within the noise floor of 16-bit rounding.", nullptr, within)
              .replace(QStringLiteral("module(s)"), within == 1 ? tr("module") : tr("modules")));
    const PredictionQuality& quality = report->prediction;
    if (predicted > 0)
      text.append(quality.held_out > 0
                      ? tr("%1 of %2 modules are predicted; of those held out half were within %3, "
                           "rank correlation %4.")
                            .arg(predicted)
                            .arg(modules)
                            .arg(formatPercent(quality.median_error, 0))
                            .arg(quality.rank_correlation, 0, 'f', 2)
                      : tr("%1 of %2 modules are predicted, and none was measured to check that.")
                            .arg(predicted)
                            .arg(modules));
    if (report->cancelled && !attribution_.running())
      text.append(tr("Stopped before the end; the next run goes on from here."));
    for (const std::string& note : report->notes) {
      QString line = QString::fromStdString(note);
      if (!line.endsWith('.'))
        line += '.';
      text.append(line);
    }
    words_->setText(text.join(' '));
    barsCard_->setReadout(tr("%1 tokens in %2 windows%3")
                              .arg(formatGrouped(report->tokens))
                              .arg(report->windows)
                              .arg(kept > 0 ? tr(", %1 kept").arg(kept) : QString()));
    words_->setToolTip(
        tr("%1; %2 blocks were run on one window each, where whole runs would have taken %3")
            .arg(formatDuration(report->cost.seconds),
                 formatGrouped(qint64(report->cost.blocks_run)),
                 formatGrouped(qint64(report->cost.blocks_whole))));
  }
  int points = 0, guesses = 0;
  QStringList problems;
  for (const ModuleCurve& curve : report ? report->curves : std::vector<ModuleCurve>())
    for (const CurvePoint& point : curve.points) {
      points += bool(point.measured);
      guesses += !point.measured && point.predicted;
      if (!point.problem.empty())
        problems.append(QString::fromStdString(point.problem));
    }
  QString said;
  if (points + guesses > 0)
    said = tr("%1 points measured%2. They stay with the session for choosing bits under a budget.")
               .arg(points)
               .arg(guesses > 0 ? tr(", %1 predicted").arg(guesses) : QString());
  if (!problems.isEmpty())
    said += ' ' + tr("%1 could not be measured: %2").arg(problems.size()).arg(problems.first());
  curveWords_->setText(said);
  curveWords_->setVisible(!said.isEmpty());
}

void AttributionPage::progress() {
  if (!attribution_.running() || !isVisible())
    return;
  const JobStatus status = attribution_.job();
  if (status.total > 0)
    bar_->setValue(int(1000.0 * double(status.done) / double(status.total)));
  QString text = status.state == JobState::queued ? tr("waiting for another job") : status.step;
  if (status.eta_seconds >= 0)
    text += QStringLiteral(" \u00b7 ") + tr("%1 left").arg(formatDuration(status.eta_seconds));
  step_->setText(step_->fontMetrics().elidedText(text, Qt::ElideMiddle, step_->width()));
  step_->setToolTip(text);
}

// --- actions ------------------------------------------------------------------------------------

void AttributionPage::measure() {
  Attribution::Wish wish;
  wish.candidate = candidate_->currentText();
  wish.alone = mode_->currentIndex() != 1;
  wish.without = mode_->currentIndex() != 0;
  constexpr double shares[] = {1, 0.5, 0.25, 0};
  wish.share = shares[std::clamp(share_->currentIndex(), 0, 3)];
  if (attribution_.stale() && workbench_.resultStale())
    attribution_.quantizeAndMeasure(wish);
  else
    attribution_.measure(wish);
}

void AttributionPage::measureCurves() {
  Attribution::Wish wish;
  for (const QString& scheme : schemes_->text().split(',', Qt::SkipEmptyParts))
    if (const QString name = scheme.trimmed(); !name.isEmpty() && !wish.schemes.contains(name))
      wish.schemes.append(name);
  constexpr double shares[] = {1, 0.5, 0.25, 0};
  wish.share = shares[std::clamp(share_->currentIndex(), 0, 3)];
  attribution_.measure(wish);
}

void AttributionPage::raise(const QStringList& modules) { attribution_.raise(modules); }

void AttributionPage::showMenu(const QStringList& modules, const QPoint& at) {
  auto* menu = new QMenu(this);
  menu->setAttribute(Qt::WA_DeleteOnClose);
  menu->setToolTipsVisible(true);
  if (!modules.isEmpty()) {
    const QString text = attribution_.raiseText(modules);
    auto* raised = menu->addAction(text.isEmpty() ? tr("&Raise precision")
                                                  : tr("&Raise precision: %1").arg(text),
                                   this, [this, modules] { raise(modules); });
    raised->setEnabled(!text.isEmpty());
    raised->setToolTip(
        tr("Gives these modules the next finer scheme in the recipe, as one step that "
           "can be undone; the bars follow once it is quantized and measured again"));
    auto* again = menu->addAction(measure_->text(), this, &AttributionPage::measure);
    again->setEnabled(measure_->isEnabled());
    menu->addSeparator();
    fillModuleMenu(menu, workbench_, modules);
  } else {
    auto* again = menu->addAction(measure_->text(), this, &AttributionPage::measure);
    again->setEnabled(measure_->isEnabled());
  }
  menu->popup(at);
}

} // namespace bitlathe::gui
