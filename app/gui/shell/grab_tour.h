// SPDX-License-Identifier: GPL-3.0-or-later
// `--grab`: opens a checkpoint, runs a recipe, walks the stages and writes a picture of each.
#pragma once

#include <functional>
#include <QElapsedTimer>
#include <QObject>
#include <QTimer>

namespace bitlathe::gui {

class MainWindow;
class Workbench;

class GrabTour : public QObject {
  Q_OBJECT
 public:
  struct Options {
    QString model, recipe, folder;
  };
  GrabTour(Workbench& workbench, MainWindow& window, Options options);
  void start();

 Q_SIGNALS:
  void finished(int exit_code);

 private:
  void fail(const QString& text);
  void next();
  void picture(int stage);
  bool save(const QString& name);
  /// Calls `then` once the engine has been idle for a while and the widgets had time to follow.
  void whenIdle(std::function<void()> then);

  Workbench& workbench_;
  MainWindow& window_;
  Options options_;
  QList<std::function<void()>> steps_;
  QTimer idle_;
  QElapsedTimer clock_;
  int idle_ticks_ = 0;
  std::function<void()> then_;
  bool failed_ = false;
};

} // namespace bitlathe::gui
