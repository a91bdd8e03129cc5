// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/plan/plan_stage.h"
#include "app/gui/stage.h"

namespace bitlathe {

namespace {
constexpr gui::TreeColumn columns[] = {gui::TreeColumn::include, gui::TreeColumn::precision,
                                       gui::TreeColumn::method, gui::TreeColumn::planned};
}

extern const gui::Stage stage_plan;
const gui::Stage stage_plan{
    "plan",
    "Plan",
    "Decide per layer: precision, method and exclusions, with the size it comes to",
    [](gui::Workbench& workbench, QWidget* parent) -> QWidget* {
      return new gui::PlanStage(workbench, parent);
    },
    columns,
    500,
    nullptr};

} // namespace bitlathe
