// SPDX-License-Identifier: GPL-3.0-or-later
// Inspect: the selected weight as histogram, heat map and channel ranges, and the activations that
// reach it. Everything is computed on the engine's look-up lane; newer requests replace older ones.
#pragma once

#include "app/gui/inspect/tensor_lookup.h"

#include <array>
#include <QWidget>

class QComboBox;
class QLabel;
class QSpinBox;
class QToolButton;

namespace bitlathe::gui {

class ActivationsCard;
class Card;
class ChannelChart;
class HeatView;
class HistogramView;
class ObserverPanel;

class InspectStage : public QWidget {
  Q_OBJECT
 public:
  explicit InspectStage(Workbench& workbench, QWidget* parent = nullptr);

 private:
  void buildWeights();
  void buildHeat();
  void buildChannels();
  void showModule(); ///< the selection or the result changed
  void statisticsReady(const QString& module);
  void countWeights(); ///< exact histogram of the visible range
  void countCoarse();
  void requestMap();
  void showChannels();
  void showCodes(); ///< lines in the weight histogram: of the stored codes or of an observer
  void showNote();  ///< the line below the weight histogram
  const Module* module(TensorLookup::Side side = TensorLookup::original) const;
  const Module* stored() const { return module(TensorLookup::stored); }

  Workbench& workbench_;
  QString shown_;       ///< module whose pictures are up
  bool ranged_ = false; ///< the range of the picture is known
  /// What a first pass over a weight left: zooming does not read it again.
  struct Seen {
    const Module* module = nullptr;
    std::shared_ptr<const WeightValues> values;
  };
  std::array<Seen, 3> seen_;
  Card *weights_card_ = nullptr, *heat_card_ = nullptr, *channels_card_ = nullptr;
  HistogramView* weights_ = nullptr;
  ActivationsCard* activations_ = nullptr;
  HeatView* heat_ = nullptr;
  ChannelChart* channels_ = nullptr;
  QComboBox *heat_mode_ = nullptr, *channel_source_ = nullptr;
  ObserverPanel* observers_ = nullptr;
  std::vector<float> stored_codes_; ///< of one group
  QWidget* code_choice_ = nullptr;
  QSpinBox *code_row_ = nullptr, *code_group_ = nullptr;
  QString weights_note_, channels_note_;
};

} // namespace bitlathe::gui
