// SPDX-License-Identifier: GPL-3.0-or-later
// A raised frame with a title row (title, read-out, tools) over a body.
#pragma once

#include <QFrame>

class QHBoxLayout;
class QLabel;
class QVBoxLayout;

namespace bitlathe::gui {

class ElidedLabel;

class Card : public QFrame {
  Q_OBJECT
 public:
  Card(const QString& title, const QString& tooltip, QWidget* parent = nullptr);
  void addTool(QWidget* tool); ///< at the right of the title row
  void addBody(QWidget* body, int stretch = 1);
  void setTitle(const QString& title);
  void setReadout(const QString& text); ///< muted text beside the title
  void setReadoutBelow();               ///< gives the read-out a line of its own
  QVBoxLayout* body() { return body_; }

 private:
  ElidedLabel* title_;
  QLabel* readout_;
  QHBoxLayout* head_;
  QVBoxLayout* body_;
};

/// A thin line of text with a dismiss button, above what it concerns; hides itself when empty.
class Banner : public QFrame {
  Q_OBJECT
 public:
  explicit Banner(QWidget* parent = nullptr);
  /// `level` is a LogLevel (0 info, 1 warning, 2 error). Repeated texts are counted.
  void say(int level, const QString& text);
  void clear();
  QString text() const;

 private:
  QLabel* text_;
  int repeats_ = 1;
  QString last_;
};

} // namespace bitlathe::gui
