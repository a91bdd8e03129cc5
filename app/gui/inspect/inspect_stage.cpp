// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/inspect/inspect_stage.h"

#include "app/gui/format.h"
#include "app/gui/inspect/activations_card.h"
#include "app/gui/inspect/channel_chart.h"
#include "app/gui/inspect/coarse.h"
#include "app/gui/inspect/heat_view.h"
#include "app/gui/inspect/histogram_view.h"
#include "app/gui/inspect/observer_panel.h"
#include "app/gui/inspect/second_errors.h"
#include "app/gui/inspect/tensor_lookup.h"
#include "app/gui/inspect/weight_counts.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/card.h"
#include "app/gui/widgets/save_menu.h"

#include <algorithm>
#include <cmath>
#include <QComboBox>
#include <QHBoxLayout>
#include <QLabel>
#include <QPushButton>
#include <QSpinBox>
#include <QSplitter>
#include <QToolButton>
#include <QVBoxLayout>

namespace bitlathe::gui {

namespace {

struct Mapped {
  HeatMap map;
  double scale = 1;
};

/// The value below which nearly all tiles stay: one outlier must not bleach the picture.
double robustScale(const HeatMap& map, HeatView::Mode mode) {
  std::vector<float> sizes;
  sizes.reserve(map.tiles.size());
  for (const auto& tile : map.tiles)
    sizes.push_back(mode == HeatView::Mode::value ? std::max(std::abs(tile.min), std::abs(tile.max))
                    : mode == HeatView::Mode::magnitude ? tile.mean_abs
                                                        : tile.max);
  if (sizes.empty())
    return 1;
  const auto at = sizes.begin() + std::ptrdiff_t(double(sizes.size() - 1) * 0.995);
  std::nth_element(sizes.begin(), at, sizes.end());
  return double(*at);
}

} // namespace

InspectStage::InspectStage(Workbench& workbench, QWidget* parent)
    : QWidget(parent), workbench_(workbench) {
  buildWeights();
  activations_ = new ActivationsCard(workbench_, this);
  buildHeat();
  buildChannels();
  auto* top = new QSplitter(Qt::Horizontal, this);
  top->addWidget(weights_card_);
  top->addWidget(activations_);
  top->setStretchFactor(0, 3);
  top->setStretchFactor(1, 2);
  auto* bottom = new QSplitter(Qt::Horizontal, this);
  bottom->addWidget(heat_card_);
  bottom->addWidget(channels_card_);
  bottom->setStretchFactor(0, 3);
  bottom->setStretchFactor(1, 2);
  auto* rows = new QSplitter(Qt::Vertical, this);
  rows->addWidget(top);
  rows->addWidget(bottom);
  rows->setStretchFactor(0, 1);
  rows->setStretchFactor(1, 1);
  for (auto* splitter : {top, bottom, rows}) {
    splitter->setChildrenCollapsible(false);
    splitter->setHandleWidth(space::s);
  }
  top->setSizes({540, 360});
  bottom->setSizes({540, 360});
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(space::s, space::s, space::s, space::s);
  column->addWidget(rows);

  for (const auto signal : {&Workbench::opened, &Workbench::selectionChanged,
                            &Workbench::resultsChanged, &Workbench::secondChanged})
    connect(&workbench, signal, this, &InspectStage::showModule);
  connect(&SecondErrors::of(workbench), &SecondErrors::changed, this,
          [this](const QStringList& modules) {
            if (modules.contains(shown_))
              showNote();
          });
  connect(&workbench, &Workbench::statisticsChanged, this, &InspectStage::showChannels);
  connect(&TensorLookup::of(workbench), &TensorLookup::ready, this, &InspectStage::statisticsReady);
  showModule();
}

void InspectStage::buildWeights() {
  weights_card_ =
      new Card(tr("Weights"),
               tr("How often each value occurs in the whole tensor: the source in "
                  "slate, what is stored in teal, a second checkpoint in violet, the codes "
                  "of one group as lines"),
               this);
  weights_card_->setReadoutBelow();
  weights_ = new HistogramView(weights_card_);
  weights_->setToolTip(tr("Wheel zooms, dragging selects a range, a double click shows all"));
  auto* halves = new QSplitter(Qt::Vertical, weights_card_);
  halves->setChildrenCollapsible(false);
  halves->addWidget(weights_);
  observers_ = new ObserverPanel(workbench_, halves);
  observers_->hide();
  halves->addWidget(observers_);
  halves->setStretchFactor(0, 1);
  weights_card_->addBody(halves);
  connect(observers_, &ObserverPanel::changed, this, &InspectStage::showCodes);

  code_choice_ = new QWidget(weights_card_);
  auto* row = new QHBoxLayout(code_choice_);
  row->setContentsMargins(0, 0, 0, 0);
  row->setSpacing(space::xs);
  code_row_ = new QSpinBox(code_choice_);
  code_group_ = new QSpinBox(code_choice_);
  for (auto* box : {code_row_, code_group_}) {
    box->setFont(smallFont());
    connect(box, &QSpinBox::valueChanged, this, &InspectStage::countWeights);
  }
  code_row_->setPrefix(tr("row "));
  code_group_->setPrefix(tr("group "));
  const QString tip = tr("The lines are the values that the codes of this group can express; a "
                         "click into the heat map chooses the group under it");
  code_row_->setToolTip(tip);
  code_group_->setToolTip(tip);
  code_row_->setAccessibleName(tr("Row of the code lines"));
  code_group_->setAccessibleName(tr("Group of the code lines"));
  row->addWidget(code_row_);
  row->addWidget(code_group_);
  weights_card_->addTool(code_choice_);
  auto* compare =
      makeChip(tr("observers"),
               tr("What each observer would choose for this weight: clip and code lines, "
                  "measured error, theory"),
               weights_card_);
  compare->setObjectName(QStringLiteral("inspect-observers"));
  connect(compare, &QPushButton::toggled, this, [this](bool on) {
    observers_->setVisible(on);
    observers_->showModule(on ? shown_ : QString());
    showCodes();
  });
  weights_card_->addTool(compare);
  auto* log =
      makeChip(tr("log"), tr("Logarithmic counts: makes the rare values in the tails visible"),
               weights_card_);
  log->setChecked(true);
  connect(log, &QPushButton::toggled, weights_, &HistogramView::setLogScale);
  weights_card_->addTool(log);
  auto* reset = makeResetButton(tr("the weight histogram"), weights_card_);
  connect(reset, &QToolButton::clicked, weights_, &HistogramView::resetZoom);
  weights_card_->addTool(reset);
  const auto csv = [this] { return weights_->csv(); };
  weights_card_->addTool(
      makePictureButton(weights_, QStringLiteral("weights"), csv, weights_card_));
  addPictureMenu(weights_, QStringLiteral("weights"), csv);
  connect(weights_, &HistogramView::rangeWanted, this, &InspectStage::countWeights);
  connect(weights_, &HistogramView::hovered, this, [this](const QString& text) {
    if (text.isEmpty())
      showNote();
    else
      weights_card_->setReadout(text);
  });
}

void InspectStage::buildHeat() {
  heat_card_ = new Card(tr("Heat map"),
                        tr("The whole matrix, outputs down and inputs across. Strips: largest "
                           "value of each row and column; amber where it is over three times the "
                           "median"),
                        this);
  heat_card_->setReadoutBelow();
  heat_ = new HeatView(heat_card_);
  heat_->setToolTip(tr("Wheel zooms down to single weights, dragging moves, a double click shows "
                       "all, a click chooses the group of the code lines"));
  heat_card_->addBody(heat_);
  heat_mode_ = new QComboBox(heat_card_);
  heat_mode_->setFont(smallFont());
  heat_mode_->addItem(tr("Values"), int(HeatView::Mode::value));
  heat_mode_->addItem(tr("Magnitude"), int(HeatView::Mode::magnitude));
  heat_mode_->addItem(tr("Error"), int(HeatView::Mode::error));
  heat_mode_->setToolTip(tr("Values: the extreme of every tile, signed. Magnitude: mean absolute "
                            "value. Error: largest distance between source and what is stored"));
  heat_mode_->setAccessibleName(tr("What the heat map shows"));
  connect(heat_mode_, &QComboBox::currentIndexChanged, this, &InspectStage::requestMap);
  heat_card_->addTool(heat_mode_);
  auto* reset = makeResetButton(tr("the heat map"), heat_card_);
  connect(reset, &QToolButton::clicked, heat_, &HeatView::resetZoom);
  heat_card_->addTool(reset);
  const auto csv = [this] { return heat_->csv(); };
  heat_card_->addTool(makePictureButton(heat_, QStringLiteral("heatmap"), csv, heat_card_));
  addPictureMenu(heat_, QStringLiteral("heatmap"), csv);
  connect(heat_, &HeatView::regionWanted, this, &InspectStage::requestMap);
  connect(heat_, &HeatView::hovered, heat_card_, &Card::setReadout);
  connect(heat_, &HeatView::picked, this, [this](qint64 row, qint64 col) {
    if (!stored())
      return;
    const auto group = stored()->weight.scheme.group;
    code_row_->setValue(int(row));
    code_group_->setValue(group > 0 ? int(col / group) : 0);
  });
}

void InspectStage::buildChannels() {
  channels_card_ = new Card(tr("Channels"),
                            tr("Smallest and largest value of every channel; amber ones stand out "
                               "and decide how wide a shared scale must be"),
                            this);
  channels_card_->setReadoutBelow();
  channels_ = new ChannelChart(channels_card_);
  channels_card_->addBody(channels_);
  channel_source_ = new QComboBox(channels_card_);
  channel_source_->setFont(smallFont());
  channel_source_->addItem(tr("Weights by output"));
  channel_source_->addItem(tr("Activations by input"));
  channel_source_->setToolTip(
      tr("Rows of the weight, or columns of what flows into the layer (needs calibration). "
         "Outlier: over 3 times the median for weights, over 6 times for activations"));
  channel_source_->setAccessibleName(tr("What the channel plot shows"));
  connect(channel_source_, &QComboBox::currentIndexChanged, this, &InspectStage::showChannels);
  channels_card_->addTool(channel_source_);
  const auto csv = [this] { return channels_->csv(); };
  channels_card_->addTool(
      makePictureButton(channels_, QStringLiteral("channels"), csv, channels_card_));
  addPictureMenu(channels_, QStringLiteral("channels"), csv);
  connect(channels_, &ChannelChart::hovered, this, [this](const QString& text) {
    channels_card_->setReadout(text.isEmpty() ? channels_note_ : text);
  });
}

const Module* InspectStage::module(TensorLookup::Side side) const {
  return TensorLookup::moduleOf(workbench_, workbench_.current(), side);
}

void InspectStage::showNote() {
  QString note = weights_note_;
  if (module(TensorLookup::second))
    if (const auto* error = SecondErrors::of(workbench_).find(shown_))
      note += QStringLiteral(" · ") +
              tr("second: %1")
                  .arg(!error->reason.isEmpty() ? error->reason
                       : error->mse == 0        ? tr("equal")
                                                : QString::number(error->sqnr_db, 'f', 1) + " dB");
  weights_card_->setReadout(note);
}

void InspectStage::showModule() {
  const Module* current = module();
  const bool same = current && shown_ == workbench_.current();
  shown_ = current ? workbench_.current() : QString();
  const Module* result = stored();
  code_choice_->setVisible(result != nullptr);
  heat_mode_->setItemData(2, result ? QVariant() : QVariant(0), Qt::UserRole - 1); // enabled or not
  if (!result && heat_mode_->currentIndex() == 2)
    heat_mode_->setCurrentIndex(0);
  if (result) {
    const QSignalBlocker quiet_row(code_row_), quiet_group(code_group_);
    const auto& scheme = result->weight.scheme;
    code_row_->setMaximum(int(result->weight.rows) - 1);
    code_group_->setMaximum(
        scheme.group > 0 ? int((result->weight.cols + scheme.group - 1) / scheme.group) - 1 : 0);
  }
  for (const auto side : {TensorLookup::original, TensorLookup::stored, TensorLookup::second})
    if (const Module* now = module(side); now != seen_[side].module) {
      seen_[side] = {now, nullptr};
      ranged_ = false; // another set of series has another range
    }
  if (!current) {
    const auto& open = workbench_.checkpoint();
    const Module* packed = open ? open->find_module(workbench_.current().toStdString()) : nullptr;
    weights_->setProblem(packed ? tr("Values stored as %1 are listed, but cannot be decoded by "
                                     "this version")
                                      .arg(QString::fromStdString(packed->weight.scheme.id))
                                : tr("Pick a layer in the tree"));
    weights_->clear();
    weights_note_.clear();
    showNote();
    heat_->clear();
    channels_->clear();
    activations_->showModule({});
    return;
  }
  weights_->setProblem({});
  if (!same) {
    weights_->clear();
    stored_codes_.clear();
    if (!observers_->isHidden())
      observers_->showModule(shown_);
    heat_->setMatrix(current->weight.rows, current->weight.cols);
    weights_note_ = tr("%1 values").arg(formatCount(double(current->parameters())));
    showNote();
    ranged_ = false;
    if (current->parameters() > coarse_from)
      countCoarse();
  }
  // In the order in which a person looks: newer requests replace older ones of each kind.
  countWeights();
  requestMap();
  TensorLookup::of(workbench_).request(shown_);
  SecondErrors::of(workbench_).request(shown_);
  activations_->showModule(shown_);
}

void InspectStage::statisticsReady(const QString& ready) {
  if (ready == shown_ && !shown_.isEmpty())
    showChannels();
}

void InspectStage::countWeights() {
  if (!module())
    return;
  WeightCounts wanted;
  for (const auto side : {TensorLookup::original, TensorLookup::stored, TensorLookup::second})
    wanted.sides[side] = {TensorLookup::checkpointOf(workbench_, side), module(side),
                          seen_[side].values};
  std::optional<std::pair<float, float>> range;
  if (ranged_)
    range.emplace(float(weights_->low()), float(weights_->high()));
  workbench_.engine().run<WeightCounts>(
      QStringLiteral("inspect-histogram"), tr("Histogram of %1").arg(shown_), this,
      [wanted, range, row = code_row_->value(), group = code_group_->value()](Feedback& feedback,
                                                                              Compute& compute) {
        return count_weights(wanted, range, row, group, feedback, compute);
      },
      [this, shown = shown_, whole = !range](Result<WeightCounts> counted) {
        if (shown != shown_)
          return;
        if (!counted) {
          if (!counted.error().cancelled())
            Q_EMIT workbench_.message(int(LogLevel::error),
                                      QString::fromStdString(counted.error().text()));
          return;
        }
        QStringList legend;
        for (const auto side :
             {TensorLookup::original, TensorLookup::stored, TensorLookup::second}) {
          const auto& of = counted->sides[side];
          if (of.module != module(side))
            return; // a result or the second checkpoint came or went: the next count is on its way
          seen_[side].values = of.values;
          const QString scheme =
              of.module ? QString::fromStdString(of.module->weight.scheme.id) : QString();
          legend.append(!of.module                       ? QString()
                        : side == TensorLookup::original ? tr("original %1").arg(scheme)
                        : side == TensorLookup::stored
                            ? tr("stored %1").arg(scheme)
                            : QStringLiteral("%1 %2").arg(
                                  QString::fromStdString(workbench_.second()->name), scheme));
        }
        auto& [original, stored_counts, second] = counted->histograms;
        weights_note_ =
            stored_counts
                ? tr("original over %1").arg(QString::fromStdString(stored()->weight.scheme.id))
                : tr("%1 values, all counted").arg(formatCount(double(original->total)));
        if (const auto odd = original->nan + original->inf; odd > 0)
          weights_note_ += tr(" · %1 NaN or infinite").arg(odd);
        if (whole) {
          weights_->setWhole(double(counted->lo), double(counted->hi));
          ranged_ = true;
        }
        weights_->setLegend(legend);
        weights_->setData(std::move(original), std::move(stored_counts), std::move(second));
        showNote();
        stored_codes_ = std::move(counted->codes);
        showCodes();
      },
      false);
}

void InspectStage::showCodes() {
  const ObserverView* chosen = observers_->isHidden() ? nullptr : observers_->chosen();
  std::vector<HistogramView::Mark> marks;
  if (!observers_->isHidden())
    for (const ObserverView& view : observers_->views())
      marks.push_back({QString::fromStdString(view.observer), double(view.lo), double(view.hi)});
  weights_->setMarks(std::move(marks));
  const std::vector<float>& codes = chosen ? chosen->codes : stored_codes_;
  std::optional<std::pair<double, double>> clip;
  if (!codes.empty()) {
    const auto [low, high] = std::minmax_element(codes.begin(), codes.end());
    clip.emplace(double(*low), double(*high));
  }
  weights_->setCodes(codes);
  weights_->setClip(clip);
}

void InspectStage::countCoarse() {
  workbench_.engine().run<Histogram>(
      QStringLiteral("inspect-coarse"), tr("First look at %1").arg(shown_), this,
      [source = workbench_.checkpoint(),
       name = shown_.toStdString()](Feedback& feedback, Compute& compute) -> Result<Histogram> {
        return coarse_histogram(*source->find_module(name), weight_bins, std::int64_t(1) << 20,
                                compute, feedback);
      },
      [this, shown = shown_](Result<Histogram> coarse) {
        if (shown != shown_ || !coarse || ranged_)
          return; // the exact one is there already, or a packed weight has no coarse one
        weights_note_ = tr("first look: %1 of the values; counting all …")
                            .arg(formatCount(double(coarse->total)));
        showNote();
        weights_->setWhole(coarse->edges.front(), coarse->edges.back());
        weights_->setData(std::move(*coarse), std::nullopt);
      },
      false);
}

void InspectStage::requestMap() {
  if (!module())
    return;
  const auto mode = HeatView::Mode(heat_mode_->currentData().toInt());
  const auto source = workbench_.checkpoint();
  const auto result = stored() ? workbench_.quantized() : nullptr;
  if (mode == HeatView::Mode::error && !result)
    return;
  const auto region = heat_->region();
  workbench_.engine().run<Mapped>(
      QStringLiteral("inspect-map"), tr("Heat map of %1").arg(shown_), this,
      [source, result, name = shown_.toStdString(), region, size = heat_->tiles(),
       mode](Feedback& feedback, Compute& compute) -> Result<Mapped> {
        Mapped mapped;
        const Module& original = *source->find_module(name);
        if (mode == HeatView::Mode::error) {
          TRY_ASSIGN(mapped.map,
                     error_map(original, *result->find_module(name), region.row0, region.col0,
                               region.rows, region.cols, size, compute, feedback));
        } else {
          TRY_ASSIGN(mapped.map, heat_map(original, region.row0, region.col0, region.rows,
                                          region.cols, size, compute, feedback));
        }
        mapped.scale = robustScale(mapped.map, mode);
        return mapped;
      },
      [this, shown = shown_, mode](Result<Mapped> mapped) {
        if (shown != shown_)
          return;
        if (mapped) {
          heat_->setMode(mode, mapped->scale);
          heat_->setMap(std::move(mapped->map));
        } else if (!mapped.error().cancelled()) {
          Q_EMIT workbench_.message(int(LogLevel::error),
                                    QString::fromStdString(mapped.error().text()));
        }
      },
      false);
}

void InspectStage::showChannels() {
  std::vector<float> low, high;
  double factor = 3;
  if (channel_source_->currentIndex() == 0) {
    if (const auto known = TensorLookup::of(workbench_).find(shown_, TensorLookup::original))
      for (const auto& channel : known->channels) {
        low.push_back(channel.min);
        high.push_back(channel.max);
      }
  } else if (const auto statistics = workbench_.statistics()) {
    factor = 6;
    if (const auto it = statistics->modules.find(shown_.toStdString());
        it != statistics->modules.end()) {
      low = it->second.channel_min;
      high = it->second.channel_max;
    }
  }
  const auto count = low.size();
  channels_->setRanges(std::move(low), std::move(high), factor);
  channels_note_ =
      count == 0
          ? (channel_source_->currentIndex() == 1 ? tr("calibrate to see the inputs' channels")
                                                  : QString())
          : tr("%1 channels, %2 outliers").arg(count).arg(channels_->outliers());
  channels_card_->setReadout(channels_note_);
}

} // namespace bitlathe::gui
