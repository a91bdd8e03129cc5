// SPDX-License-Identifier: GPL-3.0-or-later
// The checkpoint as a whole: format, schemes, the facts of its configuration, notes, and the
// metadata of a GGUF; beside it those of the second checkpoint.
#pragma once

#include "core/model/summary.h"

#include <QAbstractTableModel>
#include <QWidget>

class QLabel;
class QLineEdit;
class QPushButton;
class QSortFilterProxyModel;
class QTableView;
class QToolButton;

namespace bitlathe::gui {

class Workbench;

/// Facts by name, one column per checkpoint.
class FactsModel : public QAbstractTableModel {
  Q_OBJECT
 public:
  using QAbstractTableModel::QAbstractTableModel;
  void set(const Checkpoint* first, const Checkpoint* second);
  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

 private:
  struct Row {
    QString name, values[2];
  };
  QList<Row> rows_;
  bool two_ = false;
};

/// Keys, types and abbreviated values of GGUF metadata.
class MetadataModel : public QAbstractTableModel {
  Q_OBJECT
 public:
  using QAbstractTableModel::QAbstractTableModel;
  void set(std::shared_ptr<const Checkpoint> checkpoint);
  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

 private:
  std::shared_ptr<const Checkpoint> checkpoint_;
};

class CheckpointPanel : public QWidget {
  Q_OBJECT
 public:
  explicit CheckpointPanel(Workbench& workbench, QWidget* parent = nullptr);

 Q_SIGNALS:
  void besideWanted(); ///< a second checkpoint is to be chosen

 private:
  void refresh();

  Workbench& workbench_;
  QLabel *title_, *notes_, *second_;
  FactsModel* facts_;
  QTableView* facts_view_;
  MetadataModel* metadata_;
  QSortFilterProxyModel* filter_;
  QTableView* metadata_view_;
  QLineEdit* search_;
  QWidget* metadata_box_;
  QPushButton *beside_, *measure_, *close_;
};

} // namespace bitlathe::gui
