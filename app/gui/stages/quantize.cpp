// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/quantize/quantize_stage.h"
#include "app/gui/stage.h"

namespace bitlathe {
namespace {

constexpr gui::TreeColumn columns[] = {gui::TreeColumn::precision, gui::TreeColumn::error};

QWidget* make(gui::Workbench& workbench, QWidget* parent) {
  return new gui::QuantizeStage(workbench, parent);
}

} // namespace

extern const gui::Stage stage_quantize;
const gui::Stage stage_quantize{
    .id = "quantize",
    .title = "Quantize",
    .summary = "Run the plan, watch every module, see the error of what is stored",
    .make = make,
    .columns = columns,
    .tree_width = 400,
};

} // namespace bitlathe
