// SPDX-License-Identifier: GPL-3.0-or-later
// A stage of the window: app/gui/stages/<word>.cpp defines `const gui::Stage stage_<word>` in
// namespace bitlathe, and the word stands in the list in app/gui/CMakeLists.txt. The order of the
// list is the order in the window and of the shortcuts Ctrl+1, Ctrl+2, ...
#pragma once

#include <span>

class QWidget;

namespace bitlathe::gui {

class Workbench;

/// Columns of the layer tree; each stage says which it shows beside the name.
enum class TreeColumn {
  name,
  include, ///< tick: quantize this module
  shape,
  source,    ///< precision the checkpoint stores
  precision, ///< precision the plan gives
  method,
  reason,
  size,    ///< bytes in the checkpoint
  planned, ///< bytes the plan predicts
  error,   ///< bar: error of what is stored (SQNR), once there is a result
  second,  ///< bar: error of a second checkpoint against the first, shown while there is one
  count_
};

struct Stage {
  const char* id;      ///< "inspect"; also the name of its picture
  const char* title;   ///< "Inspect"
  const char* summary; ///< one sentence for the tooltip
  QWidget* (*make)(Workbench& workbench, QWidget* parent);
  std::span<const TreeColumn> columns;
  /// Width of the tree in this stage before anyone resized it.
  int tree_width = 300;
  /// Does what the stage is there for with its standard inputs (Compare: two prompts, Evaluate:
  /// eight windows); used by --grab. May be null. The picture is taken once the engine is idle.
  void (*rehearse)(QWidget* stage) = nullptr;
};

} // namespace bitlathe::gui

namespace bitlathe {
std::span<const gui::Stage* const> all_stages();
} // namespace bitlathe
