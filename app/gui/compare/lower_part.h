// SPDX-License-Identifier: GPL-3.0-or-later
// Below the panes: the likeliest tokens at one place and the prompts of the set, beside each other
// where there is room, else one of them.
#pragma once

#include "app/gui/compare/top_tokens.h"

#include <QSplitter>

class QToolButton;

namespace bitlathe::gui {

class Card;
class PromptsCard;

class LowerPart : public QSplitter {
  Q_OBJECT
 public:
  explicit LowerPart(QWidget* parent = nullptr);
  PromptsCard* prompts() { return prompts_; }
  void showTokens(const QList<TopTokens::Side>& sides, const QString& readout);
  void showPrompts(bool prompts); ///< in front, where only one is shown
  bool showsPrompts() const { return front_; }
  void fit(int width); ///< of the stage

 Q_SIGNALS:
  void frontChanged(bool prompts); ///< what is in front now wants another height

 private:
  void refresh();

  Card* card_;
  TopTokens* tokens_;
  PromptsCard* prompts_;
  QToolButton *toPrompts_, *toTokens_;
  bool front_ = false, wide_ = false;
};

} // namespace bitlathe::gui
