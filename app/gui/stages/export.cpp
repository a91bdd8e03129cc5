// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/export/export_stage.h"
#include "app/gui/stage.h"

namespace bitlathe {
namespace {

constexpr gui::TreeColumn columns[] = {gui::TreeColumn::precision};

QWidget* make(gui::Workbench& workbench, QWidget* parent) {
  return new gui::ExportStage(workbench, parent);
}

/// Writes the first format that fits into the folder for kept results.
void rehearse(QWidget* stage) {
  static_cast<gui::ExportStage*>(stage)->exportFirst(gui::Workbench::keptFolder() +
                                                     QStringLiteral("/exports"));
}

} // namespace

extern const gui::Stage stage_export;
const gui::Stage stage_export{
    .id = "export",
    .title = "Export",
    .summary = "Choose a format, see what it can hold, write it and check it",
    .make = make,
    .columns = columns,
    .rehearse = rehearse,
};

} // namespace bitlathe
