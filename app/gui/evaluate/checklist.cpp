// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/evaluate/checklist.h"

#include <QCoreApplication>

namespace bitlathe::gui {
namespace {

QString tr(const char* text, int n = -1) {
  return QCoreApplication::translate("Checklist", text, nullptr, n);
}

using State = CheckItem::State;

CheckItem opened(const ChecklistEvidence& e) {
  return {e.opened ? State::done : State::open, QStringLiteral("opened"), tr("Checkpoint opened"),
          e.opened ? e.model : tr("Drop a checkpoint on the window"), QStringLiteral("inspect")};
}

CheckItem reviewed(const ChecklistEvidence& e) {
  CheckItem item{State::open, QStringLiteral("reviewed"), tr("Plan reviewed"),
                 tr("Look at what every module gets, and why"), QStringLiteral("plan")};
  if (e.planReviewed && e.planned) {
    item.state = e.planNotes ? State::attention : State::done;
    item.detail = e.planNotes ? tr("%1 warnings in the plan").arg(e.planNotes)
                              : tr("No warnings in the plan");
  }
  return item;
}

CheckItem quantized(const ChecklistEvidence& e) {
  CheckItem item{State::open, QStringLiteral("quantized"), tr("Quantized"), tr("Run the plan"),
                 QStringLiteral("quantize")};
  if (!e.quantized)
    return item;
  item.state = e.stale || e.quantizeNotes ? State::attention : State::done;
  item.detail = e.stale           ? tr("The recipe changed since; run again")
                : e.quantizeNotes ? tr("Finished with %1 notes; read them").arg(e.quantizeNotes)
                                  : tr("Finished without notes");
  return item;
}

CheckItem compared(const ChecklistEvidence& e) {
  CheckItem item{State::open, QStringLiteral("compared"), tr("Generations compared"),
                 tr("Run a prompt side by side"), QStringLiteral("compare")};
  if (e.promptsCompared > 0) {
    item.state = State::done;
    item.detail =
        tr("%1 of %2 prompts gave the same tokens").arg(e.promptsSame).arg(e.promptsCompared);
  }
  return item;
}

CheckItem measured(const ChecklistEvidence& e) {
  CheckItem item{State::open, QStringLiteral("measured"), tr("Perplexity and KL measured"),
                 tr("Measure on held-out text"), QStringLiteral("evaluate")};
  if (e.measured) {
    item.state = State::done;
    item.detail = e.verdict;
  }
  return item;
}

CheckItem exported(const ChecklistEvidence& e) {
  CheckItem item{State::open, QStringLiteral("exported"), tr("Exported and verified"),
                 tr("Write a format and re-open it"), QStringLiteral("export")};
  if (e.verifyFailed > 0) {
    item.state = State::attention;
    item.detail = tr("%1 exports failed their verification").arg(e.verifyFailed);
  } else if (e.verified > 0) {
    item.state = State::done;
    item.detail = tr("%1 exports re-opened and checked").arg(e.verified);
  } else if (e.exported > 0) {
    item.detail = tr("Exported; not verified yet");
  }
  return item;
}

} // namespace

QList<CheckItem> checklist(const ChecklistEvidence& e) {
  return {opened(e), reviewed(e), quantized(e), compared(e), measured(e), exported(e)};
}

} // namespace bitlathe::gui
