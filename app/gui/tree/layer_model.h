// SPDX-License-Identifier: GPL-3.0-or-later
// The layers of the open checkpoint: blocks and their modules, with what is stored, planned and
// measured. Edits go through the Workbench, as undoable steps, to the whole shared selection when
// the edited module is part of it.
#pragma once

#include "app/gui/stage.h"
#include "app/gui/workbench.h"

#include <QAbstractItemModel>

namespace bitlathe::gui {

class LayerModel : public QAbstractItemModel {
  Q_OBJECT
 public:
  explicit LayerModel(Workbench& workbench, QObject* parent = nullptr);

  QModelIndex index(int row, int column, const QModelIndex& parent = {}) const override;
  QModelIndex parent(const QModelIndex& child) const override;
  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;
  Qt::ItemFlags flags(const QModelIndex& index) const override;
  bool setData(const QModelIndex& index, const QVariant& value, int role) override;

  bool grouped() const { return grouped_; }
  void setGrouped(bool grouped); ///< blocks as parents, or one flat list
  /// Modules of a row: itself, or all of a block.
  QStringList modulesOf(const QModelIndex& index) const;
  QModelIndex indexOf(const QString& module) const;
  QStringList roles() const; ///< in model order

 private:
  struct Top {
    int layer = -1;     ///< >= 0: a block
    QList<int> modules; ///< one, or the block's
  };
  void rebuild();
  void refresh();               ///< plan or results changed: same rows
  void refreshUpTo(int result); ///< results of a running job arrived
  void refreshSecond(const QStringList& modules);
  QList<int> moduleIndexes(const QModelIndex& index) const;
  const ModuleResult* result(int module) const;
  const PlannedModule* planned(int module) const;
  QVariant moduleData(int module, TreeColumn column, int role) const;
  QVariant groupData(const Top& top, TreeColumn column, int role) const;
  QVariant nameData(int module, int role) const;
  QVariant secondData(const QList<int>& modules, int role) const;

  Workbench& workbench_;
  std::shared_ptr<const Checkpoint> checkpoint_;
  QList<Top> tops_;
  QHash<QString, int> by_name_;
  QList<int> top_of_; ///< row of the top that holds each module
  bool grouped_ = true;
  int results_shown_ = 0;
};

} // namespace bitlathe::gui
