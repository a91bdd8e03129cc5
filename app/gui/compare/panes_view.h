// SPDX-License-Identifier: GPL-3.0-or-later
// The continuations side by side or as their difference, with the divergence along the first text
// under them. Marks where texts part; keeps one current token in all views.
#pragma once

#include "app/gui/compare/contender_pane.h"
#include "app/gui/compare/kl_strip.h"

#include <QWidget>

class QComboBox;
class QFrame;
class QGridLayout;
class QLabel;
class QPushButton;
class QStackedWidget;

namespace bitlathe::gui {

class DiffView;

class PanesView : public QWidget {
  Q_OBJECT
 public:
  explicit PanesView(QWidget* parent = nullptr);

  /// Builds the panes anew unless they are these already.
  void setPanes(const QList<PaneInfo>& panes);
  const QList<PaneInfo>& panes() const { return infos_; }
  int count() const { return int(panes_.size()); }
  ContenderPane* pane(int index) { return panes_[index]; }

  /// Everything anew: a run that begins, or one that is over.
  void show(const QList<Generation>& sides);
  void append(const QList<Generation>& sides, int side, qsizetype from);
  void change(const QList<Generation>& sides, int side); ///< state or figures
  void setPrompt(int side, const QString& prompt);
  /// The texts are over: agreement of whole texts, and the difference.
  void finish(const QList<Generation>& sides);

  /// First different token by side; -1: none.
  const QList<qsizetype>& divergences() const { return divergences_; }
  qsizetype firstDivergence() const; ///< the earliest; -1: none
  void setCurrent(qsizetype token);
  qsizetype current() const { return current_; }
  qsizetype shown() const { return under_ >= 0 ? under_ : current_; }
  void recolor();
  void setShading(TokenView::Shading shading);
  TokenView::Shading shading() const;
  void showDifference(bool difference);
  bool showsDifference() const;
  void focusPane(int index);
  DiffView* difference() { return diff_; }
  KlStrip* strip() { return strip_; }
  void setSummary(const QString& text); ///< beside the switches

 Q_SIGNALS:
  void tokenChanged(); ///< shown()
  void removeRequested(int index);
  void addRequested();
  void viewChanged(); ///< shading, or panes against difference

 private:
  void marks(const QList<Generation>& sides, int side, bool exact);
  void refreshStrip(const QList<Generation>& sides);
  void pick(qsizetype token);
  void hover(qsizetype token);

  QList<PaneInfo> infos_;
  QList<ContenderPane*> panes_;
  QList<qsizetype> divergences_;
  qsizetype current_ = -1, under_ = -1;

  QPushButton *beside_, *different_;
  QComboBox* shading_;
  QLabel* summary_;
  QStackedWidget* stack_;
  QWidget* box_;
  QGridLayout* grid_;
  DiffView* diff_;
  QFrame* stripCard_;
  QLabel* stripText_;
  KlStrip* strip_;
};

} // namespace bitlathe::gui
