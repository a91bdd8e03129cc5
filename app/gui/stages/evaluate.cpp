// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/evaluate/evaluate_stage.h"
#include "app/gui/stage.h"

namespace bitlathe {
namespace {

constexpr gui::TreeColumn columns[] = {gui::TreeColumn::error};

QWidget* make(gui::Workbench& workbench, QWidget* parent) {
  return new gui::EvaluateStage(workbench, parent);
}

void rehearse(QWidget* stage) {
  auto* evaluate = static_cast<gui::EvaluateStage*>(stage);
  evaluate->setWindows(8);
  evaluate->measure();
}

} // namespace

extern const gui::Stage stage_evaluate;
const gui::Stage stage_evaluate{
    .id = "evaluate",
    .title = "Evaluate",
    .summary = "Perplexity, KL divergence and speed on held-out text, with errors",
    .make = make,
    .columns = columns,
    .rehearse = rehearse,
};

} // namespace bitlathe
