// SPDX-License-Identifier: GPL-3.0-or-later
// The variants of a session as a table.
#pragma once

#include "app/gui/workbench.h"

#include <QAbstractTableModel>

namespace bitlathe::gui {

class VariantsModel : public QAbstractTableModel {
  Q_OBJECT
 public:
  enum Column { title, size, bits, perplexity, kl, top1, measured, made, result, column_count };
  // Cells offer sort_role of app/gui/widgets/delegates.h.

  explicit VariantsModel(const Workbench& workbench, QObject* parent = nullptr);
  void refresh(); ///< after variants, their figures or their results changed

  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

 private:
  QString text(const SessionVariant& variant, int row, int column) const;
  QVariant number(const SessionVariant& variant, int row, int column) const;
  const Workbench& workbench_;
  std::vector<SessionVariant> shown_;
  std::vector<bool> kept_;
  int current_ = -1;
  std::string on_; ///< what the table of figures is measured on
};

} // namespace bitlathe::gui
