// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/compare/compare_stage.h"
#include "app/gui/stage.h"

namespace bitlathe {
namespace {

constexpr gui::TreeColumn columns[] = {gui::TreeColumn::precision};

QWidget* make(gui::Workbench& workbench, QWidget* parent) {
  return new gui::CompareStage(workbench, parent);
}

void rehearse(QWidget* stage) { static_cast<gui::CompareStage*>(stage)->rehearse(2); }

} // namespace

extern const gui::Stage stage_compare;
const gui::Stage stage_compare{
    .id = "compare",
    .title = "Compare",
    .summary = "The same prompt and seed on two to four models, side by side",
    .make = make,
    .columns = columns,
    .rehearse = rehearse,
};

} // namespace bitlathe
