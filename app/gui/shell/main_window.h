// SPDX-License-Identifier: GPL-3.0-or-later
// The window: menus, header, layer tree and details in docks, the stages in the middle, the jobs
// strip below. Holds no state of its own beyond what is open and where.
#pragma once

#include "app/gui/start/start_page.h"
#include "app/gui/theme.h"

#include <QList>
#include <QMainWindow>

class QDockWidget;
class QStackedWidget;

namespace bitlathe::gui {

class Banner;
class DetailsPanel;
class HeaderBar;
class JobsStrip;
class LayerPanel;
class LogPanel;
class Workbench;

/// Where the window leaves its session when it is closed.
QString lastSessionPath();

class MainWindow : public QMainWindow {
  Q_OBJECT
 public:
  /// `remember`: read and write the layout, recent files and choices in the settings.
  MainWindow(Workbench& workbench, bool remember, QWidget* parent = nullptr);
  ~MainWindow() override;

  void openPath(const QString& path); ///< checkpoint, session, or recipe (*.json)
  void setStage(int index);
  int stage() const { return stage_; }
  QWidget* stageWidget(int index); ///< made when first asked for
  LayerPanel& layers() { return *layers_; }
  StartPage& startPage() { return *start_; }
  /// The start page over the stages, to choose another checkpoint or one to open beside.
  void showStart(StartPage::Purpose purpose);
  /// The sample session with planted outliers.
  void openOutliers();
  QString problem() const; ///< text of the banner, empty when there is none

 protected:
  void closeEvent(QCloseEvent* event) override;
  void dragEnterEvent(QDragEnterEvent* event) override;
  void dropEvent(QDropEvent* event) override;

 private:
  // main_window.cpp
  void buildParts();
  QDockWidget* addDock(const QString& title, const char* name, QWidget* content,
                       Qt::DockWidgetArea area);
  void buildStart();
  void leaveStart();
  void connectWorkbench();
  void showStage();
  void restoreLayout();
  void updateTitle();
  // main_window_actions.cpp
  void buildMenus();
  void buildFileMenu();
  void buildRecipeMenu();
  void buildViewMenu();
  void buildComputeMenu();
  void buildHelpMenu();
  void chooseFolder();
  void chooseFile();
  void choosePath(const QString& path, StartPage::Purpose purpose);
  void saveSession(bool ask_path);
  void loadRecipe(const QString& path);
  void chooseRecipe();
  void saveRecipe();
  QStringList recent() const;
  void rememberRecent(const QString& path);
  void forgetRecent(const QString& path);
  void rebuildRecent();
  void offerDrop(const QString& path, const QPoint& at);
  void cleanKept();
  void showAbout();
  void setTheme(ThemeMode mode);

  Workbench& workbench_;
  bool remember_;
  HeaderBar* header_ = nullptr;
  LayerPanel* layers_ = nullptr;
  DetailsPanel* details_ = nullptr;
  LogPanel* log_ = nullptr;
  JobsStrip* strip_ = nullptr;
  Banner* banner_ = nullptr;
  QStackedWidget* stack_ = nullptr;
  StartPage* start_ = nullptr;
  bool starting_ = false; ///< the start page is shown over an open checkpoint
  QString asked_for_;     ///< what was opened last, as it was named
  QDockWidget *layer_dock_ = nullptr, *details_dock_ = nullptr, *log_dock_ = nullptr;
  QList<QWidget*> stage_widgets_;
  QList<int> tree_widths_;
  QList<QAction*> needs_checkpoint_, needs_second_;
  QMenu* recent_menu_ = nullptr;
  int stage_ = 0;
};

} // namespace bitlathe::gui
