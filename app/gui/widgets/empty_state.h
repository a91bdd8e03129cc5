// SPDX-License-Identifier: GPL-3.0-or-later
// What a view shows while it has nothing to show: what belongs here and how to get it.
#pragma once

#include <functional>
#include <QWidget>

class QLabel;
class QPushButton;

namespace bitlathe::gui {

class EmptyState : public QWidget {
  Q_OBJECT
 public:
  EmptyState(const QString& title, const QString& text, QWidget* parent = nullptr);
  void setTexts(const QString& title, const QString& text);
  /// A button below the text; the first one added is the primary one.
  QPushButton* addAction(const QString& label, const QString& tooltip,
                         std::function<void()> action);

 private:
  QLabel* title_;
  QLabel* text_;
  QWidget* buttons_;
};

} // namespace bitlathe::gui
