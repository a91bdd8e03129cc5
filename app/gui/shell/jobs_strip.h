// SPDX-License-Identifier: GPL-3.0-or-later
// The strip at the bottom: what runs now with progress, time left and cancel, what came last, and
// the button that opens the log.
#pragma once

#include "app/gui/engine_thread.h"

#include <QFrame>

class QLabel;
class QPlainTextEdit;
class QProgressBar;
class QToolButton;

namespace bitlathe::gui {

class JobsStrip : public QFrame {
  Q_OBJECT
 public:
  explicit JobsStrip(EngineThread& engine, QWidget* parent = nullptr);
  QToolButton* logButton() { return log_; }

 private:
  void refresh();

  EngineThread& engine_;
  QLabel *mark_, *title_, *step_, *time_, *queue_;
  QProgressBar* bar_;
  QToolButton *cancel_, *log_;
  JobId shown_ = 0;
};

/// Lines of the engine and the Workbench, newest last, with times; can be filtered by level, copied
/// and saved.
class LogPanel : public QWidget {
  Q_OBJECT
 public:
  explicit LogPanel(QWidget* parent = nullptr);
  void append(int level, const QString& line);
  QString text() const;

 private:
  QPlainTextEdit* view_;
};

} // namespace bitlathe::gui
