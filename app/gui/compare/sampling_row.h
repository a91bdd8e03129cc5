// SPDX-License-Identifier: GPL-3.0-or-later
// How tokens are drawn: temperature, top-k, top-p, seed and the longest text, and whether the
// prompt is a message of a conversation.
#pragma once

#include "core/judge/transcripts.h"

#include <QWidget>

class QDoubleSpinBox;
class QHBoxLayout;
class QSpinBox;

namespace bitlathe::gui {

class SamplingRow : public QWidget {
  Q_OBJECT
 public:
  explicit SamplingRow(QWidget* parent = nullptr);
  TranscriptSampling sampling() const;
  void set(const TranscriptSampling& sampling);
  void setMaxNew(int tokens);
  void newSeed(); ///< another one than now
  QHBoxLayout* row() { return row_; }

 Q_SIGNALS:
  void changed();
  void newSeedWanted(); ///< a new seed, and to generate with it

 private:
  void addField(const QString& text, QWidget* control, const QString& tip);

  QHBoxLayout* row_;
  QDoubleSpinBox *temperature_, *topP_;
  QSpinBox *topK_, *seed_, *maxNew_;
};

} // namespace bitlathe::gui
