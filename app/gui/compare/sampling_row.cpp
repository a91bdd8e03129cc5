// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/compare/sampling_row.h"

#include "app/gui/theme.h"

#include <cmath>
#include <QDoubleSpinBox>
#include <QHBoxLayout>
#include <QLabel>
#include <QRandomGenerator>
#include <QSpinBox>
#include <QToolButton>

namespace bitlathe::gui {

SamplingRow::SamplingRow(QWidget* parent) : QWidget(parent) {
  row_ = new QHBoxLayout(this);
  row_->setContentsMargins(0, 0, 0, 0);
  row_->setSpacing(space::xs);
  const auto real = [this](double low, double high, double step, double value) {
    auto* spin = new QDoubleSpinBox(this);
    spin->setRange(low, high);
    spin->setSingleStep(step);
    spin->setValue(value);
    connect(spin, &QDoubleSpinBox::valueChanged, this, &SamplingRow::changed);
    return spin;
  };
  const auto whole = [this](int low, int high, int value) {
    auto* spin = new QSpinBox(this);
    spin->setRange(low, high);
    spin->setValue(value);
    connect(spin, &QSpinBox::valueChanged, this, &SamplingRow::changed);
    return spin;
  };
  temperature_ = real(0, 5, 0.1, 0);
  temperature_->setSpecialValueText(tr("greedy"));
  addField(tr("Temperature"), temperature_,
           tr("0 takes the likeliest token every time (greedy); higher values draw more freely"));
  topK_ = whole(0, 100000, 0);
  topK_->setSpecialValueText(tr("off"));
  addField(tr("Top-k"), topK_, tr("Draw among the k likeliest tokens only; off: all"));
  topP_ = real(0.01, 1, 0.05, 1);
  addField(tr("Top-p"), topP_,
           tr("Draw among the likeliest tokens whose probabilities add up to p; 1: all"));
  seed_ = whole(0, 2147483647, 0);
  addField(tr("Seed"), seed_, tr("Same seed and logits draw the same tokens on every machine"));
  row_->setSpacing(space::xs);
  auto* dice = new QToolButton(this);
  dice->setText(QStringLiteral("\u21bb"));
  dice->setShortcut(QKeySequence(Qt::ALT | Qt::Key_Return));
  dice->setToolTip(tr("Generates again with a new seed (%1). With temperature 0 every seed gives "
                      "the same text; a temperature of 0.8 is set then")
                       .arg(dice->shortcut().toString(QKeySequence::NativeText)));
  dice->setAccessibleName(tr("New seed and generate"));
  connect(dice, &QToolButton::clicked, this, &SamplingRow::newSeedWanted);
  row_->insertWidget(row_->count() - 1, dice);
  maxNew_ = whole(1, 4096, 64);
  addField(tr("New tokens"), maxNew_,
           tr("Stop after this many tokens if the model does not end by itself"));
}

void SamplingRow::addField(const QString& text, QWidget* control, const QString& tip) {
  auto* label = new QLabel(text, this);
  label->setFont(smallFont());
  setRole(label, "muted");
  label->setBuddy(control);
  label->setToolTip(tip);
  control->setToolTip(tip);
  control->setAccessibleName(text);
  row_->addWidget(label);
  row_->addWidget(control);
  row_->addSpacing(space::s);
}

TranscriptSampling SamplingRow::sampling() const {
  // As it is shown: what a double makes of 0.1 + 0.2 is no setting.
  const auto round = [](double x) { return std::round(x * 100) / 100; };
  return {round(temperature_->value()), round(topP_->value()), topK_->value(), maxNew_->value(),
          std::uint64_t(seed_->value())};
}

void SamplingRow::set(const TranscriptSampling& sampling) {
  temperature_->setValue(sampling.temperature);
  topP_->setValue(sampling.top_p);
  topK_->setValue(int(std::clamp<std::int64_t>(sampling.top_k, 0, 100000)));
  seed_->setValue(int(std::min<std::uint64_t>(sampling.seed, 2147483647)));
  setMaxNew(int(std::clamp<std::int64_t>(sampling.max_new, 1, 4096)));
}

void SamplingRow::setMaxNew(int tokens) { maxNew_->setValue(tokens); }

void SamplingRow::newSeed() {
  if (temperature_->value() == 0)
    temperature_->setValue(0.8);
  int seed = seed_->value();
  while (seed == seed_->value())
    seed = int(QRandomGenerator::global()->bounded(1, 1000000));
  seed_->setValue(seed);
}

} // namespace bitlathe::gui
