// SPDX-License-Identifier: GPL-3.0-or-later
// One side of the Compare stage: who it is, how fast, where it parts from the first, and its text.
#pragma once

#include "app/gui/compare/token_view.h"

#include <QFrame>

class QLabel;
class QToolButton;

namespace bitlathe::gui {

/// Slate, teal, violet, rose: the colour of a contender by its place, everywhere.
QColor contenderColor(int index);

/// Who is shown in a pane: a model that is open, or one that was when a transcript was written.
struct PaneInfo {
  QString title, path;
  QString tip;     ///< more about it
  QString problem; ///< why it cannot run; empty: it can
  bool removable = false;
  bool operator==(const PaneInfo& other) const = default;
};

class ContenderPane : public QFrame {
  Q_OBJECT
 public:
  ContenderPane(int index, const PaneInfo& info, QWidget* parent = nullptr);
  TokenView* view() const { return view_; }
  void recolor(); ///< after the theme changed
  /// Figures, state and reason of failure; the tokens themselves go to view().
  void show(const Generation& generation);
  /// What is said of the difference to the reference; empty for the reference itself.
  void setDifference(const QString& text, bool differs);

 Q_SIGNALS:
  void removeRequested(int index);

 protected:
  void paintEvent(QPaintEvent* event) override;

 private:
  int index_;
  QLabel *state_, *figures_, *difference_;
  TokenView* view_;
};

} // namespace bitlathe::gui
