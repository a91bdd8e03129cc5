// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/inspect/inspect_stage.h"
#include "app/gui/stage.h"

namespace bitlathe {

namespace {
constexpr gui::TreeColumn columns[] = {gui::TreeColumn::shape, gui::TreeColumn::source,
                                       gui::TreeColumn::size};
}

extern const gui::Stage stage_inspect;
const gui::Stage stage_inspect{
    "inspect",
    "Inspect",
    "See every layer: how its weights and activations are spread, and where the outliers are",
    [](gui::Workbench& workbench, QWidget* parent) -> QWidget* {
      return new gui::InspectStage(workbench, parent);
    },
    columns,
    385,
    nullptr};

} // namespace bitlathe
