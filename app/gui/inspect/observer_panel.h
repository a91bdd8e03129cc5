// SPDX-License-Identifier: GPL-3.0-or-later
// What each observer would choose for a weight under a scheme: range, error measured on the codes,
// and what the theory of uniform rounding says. Choosing one shows its codes in the histogram.
#pragma once

#include "core/eval/observer_view.h"

#include <optional>
#include <QWidget>

class QComboBox;
class QLabel;
class QTableWidget;

namespace bitlathe {
struct Module;
}

namespace bitlathe::gui {

class Workbench;

class ObserverPanel : public QWidget {
  Q_OBJECT
 public:
  explicit ObserverPanel(Workbench& workbench, QWidget* parent = nullptr);
  /// Measures for a module of the open checkpoint, or clears the table (empty name).
  void showModule(const QString& name);
  /// All observers' choices, and the one to be drawn with its codes.
  const std::vector<ObserverView>& views() const { return views_; }
  const ObserverView* chosen() const;
  QString csv() const;

 Q_SIGNALS:
  void changed(); ///< views() or chosen()

 private:
  QString scheme() const;
  void request();
  void fill(const QString& problem);

  Workbench& workbench_;
  QString module_;
  std::vector<ObserverView> views_;
  QComboBox* scheme_;
  QTableWidget* table_;
  QLabel* remark_;
};

} // namespace bitlathe::gui
