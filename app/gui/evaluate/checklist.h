// SPDX-License-Identifier: GPL-3.0-or-later
// The before/after checklist: it ticks itself from evidence, and says what is missing.
#pragma once

#include <QList>
#include <QString>

namespace bitlathe::gui {

/// What is known of the work on one checkpoint; figures belong to the current result.
struct ChecklistEvidence {
  bool opened = false;
  QString model;
  bool planned = false;      ///< a plan exists
  bool planReviewed = false; ///< the Plan stage was looked at, or the recipe changed there
  int planNotes = 0;
  bool quantized = false, stale = false;
  int quantizeNotes = 0;
  int promptsCompared = 0, promptsSame = 0;
  bool measured = false;
  QString verdict;
  int exported = 0, verified = 0, verifyFailed = 0;
};

struct CheckItem {
  enum class State { open, done, attention } state = State::open;
  QString id;    ///< "opened", "reviewed", "quantized", "compared", "measured", "exported"
  QString title; ///< "Quantized without notes"
  QString detail;
  QString stage; ///< where to do it: "inspect", "plan", ...
};
QList<CheckItem> checklist(const ChecklistEvidence& evidence);

} // namespace bitlathe::gui
