// SPDX-License-Identifier: GPL-3.0-or-later
// The layer tree as a panel: search field, role chips, the tree with the stage's columns, and a
// line about what is shown and selected. Its selection is the Workbench's.
#pragma once

#include "app/gui/stage.h"

#include <QWidget>

class QLabel;
class QLineEdit;
class QMenu;
class QTreeView;

namespace bitlathe::gui {

class FlowLayout;
class LayerFilter;
class LayerModel;
class Workbench;

class LayerPanel : public QWidget {
  Q_OBJECT
 public:
  explicit LayerPanel(Workbench& workbench, QWidget* parent = nullptr);
  void setColumns(std::span<const TreeColumn> columns);
  void focusSearch();
  QTreeView* view() { return view_; }
  LayerModel* model() { return model_; }
  LayerFilter* filter() { return filter_; }

 private:
  void rebuildChips();
  void applyChips();
  void pullSelection(); ///< Workbench -> view
  void pushSelection(); ///< view -> Workbench
  void updateStatus();
  void sizeColumns();
  void openMenu(const QPoint& at);

  Workbench& workbench_;
  LayerModel* model_;
  LayerFilter* filter_;
  QLineEdit* search_;
  QWidget* chips_;
  FlowLayout* chip_flow_;
  QTreeView* view_;
  QLabel* status_;
  bool syncing_ = false;
};

} // namespace bitlathe::gui
