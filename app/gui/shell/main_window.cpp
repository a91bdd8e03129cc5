// SPDX-License-Identifier: GPL-3.0-or-later
// The window's parts and how they follow the Workbench; menus are in main_window_actions.cpp.
#include "app/gui/shell/main_window.h"

#include "app/gui/compare/compare_stage.h"
#include "app/gui/evaluate/evidence.h"
#include "app/gui/inspect/checkpoint_panel.h"
#include "app/gui/shell/details_panel.h"
#include "app/gui/shell/header_bar.h"
#include "app/gui/shell/jobs_strip.h"
#include "app/gui/shell/sample_session.h"
#include "app/gui/stage.h"
#include "app/gui/tree/layer_panel.h"
#include "app/gui/widgets/card.h"
#include "app/gui/workbench.h"

#include <QCloseEvent>
#include <QDir>
#include <QDockWidget>
#include <QDragEnterEvent>
#include <QDropEvent>
#include <QFileInfo>
#include <QLabel>
#include <QLayout>
#include <QMenuBar>
#include <QMimeData>
#include <QSettings>
#include <QStackedWidget>
#include <QStandardPaths>
#include <QStatusBar>
#include <QToolButton>
#include <QVBoxLayout>

namespace bitlathe::gui {

namespace {

constexpr int layout_version = 1;

} // namespace

QString lastSessionPath() {
  return QStandardPaths::writableLocation(QStandardPaths::AppLocalDataLocation) + "/last.bitlathe";
}

MainWindow::MainWindow(Workbench& workbench, bool remember, QWidget* parent)
    : QMainWindow(parent), workbench_(workbench), remember_(remember) {
  setAcceptDrops(true);
  setObjectName(QStringLiteral("MainWindow"));
  resize(1440, 900);
  buildParts();
  buildMenus();
  connectWorkbench();
  restoreLayout();
  updateTitle();
  showStage();
}

MainWindow::~MainWindow() = default;

void MainWindow::buildParts() {
  header_ = new HeaderBar(workbench_);
  auto* top = new QWidget(this);
  auto* top_column = new QVBoxLayout(top);
  top_column->setContentsMargins(0, 0, 0, 0);
  top_column->setSpacing(0);
  auto* bar = new QMenuBar(top);
  bar->setNativeMenuBar(false);
  top_column->addWidget(bar);
  top_column->addWidget(header_);
  setMenuWidget(top);

  auto* centre = new QWidget(this);
  auto* column = new QVBoxLayout(centre);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(space::xs);
  banner_ = new Banner(centre);
  stack_ = new QStackedWidget(centre);
  column->addWidget(banner_);
  column->addWidget(stack_, 1);
  setCentralWidget(centre);
  buildStart();
  stack_->addWidget(start_);
  for (const auto* stage : all_stages()) {
    stage_widgets_.append(nullptr);
    tree_widths_.append(std::max(stage->tree_width, 350)); // names of modules stay readable
  }

  layers_ = new LayerPanel(workbench_, this);
  details_ = new DetailsPanel(workbench_, this);
  log_ = new LogPanel(this);
  layer_dock_ = addDock(tr("Layers"), "layers", layers_, Qt::LeftDockWidgetArea);
  details_dock_ = addDock(tr("Details"), "details", details_, Qt::RightDockWidgetArea);
  log_dock_ = addDock(tr("Log"), "log", log_, Qt::BottomDockWidgetArea);
  log_dock_->hide();
  setCorner(Qt::BottomLeftCorner, Qt::LeftDockWidgetArea);
  setCorner(Qt::BottomRightCorner, Qt::RightDockWidgetArea);
  resizeDocks({details_dock_}, {270}, Qt::Horizontal);

  strip_ = new JobsStrip(workbench_.engine(), this);
  statusBar()->setSizeGripEnabled(false);
  statusBar()->setContentsMargins(0, 0, 0, 0);
  statusBar()->layout()->setContentsMargins(0, 0, 0, 0);
  statusBar()->addWidget(strip_, 1);
  connect(strip_->logButton(), &QToolButton::toggled, log_dock_, &QDockWidget::setVisible);
  connect(log_dock_, &QDockWidget::visibilityChanged, strip_->logButton(),
          [this] { strip_->logButton()->setChecked(!log_dock_->isHidden()); });
  connect(header_, &HeaderBar::stageChosen, this, &MainWindow::setStage);
}

QDockWidget* MainWindow::addDock(const QString& title, const char* name, QWidget* content,
                                 Qt::DockWidgetArea area) {
  auto* dock = new QDockWidget(title, this);
  dock->setObjectName(QString::fromLatin1(name));
  dock->setWidget(content);
  addDockWidget(area, dock);
  return dock;
}

void MainWindow::buildStart() {
  start_ = new StartPage(workbench_, this);
  start_->setRecent(recent());
  start_->addAction(tr("Open folder …"), tr("Choose a checkpoint folder (Ctrl+Alt+O)"),
                    [this] { chooseFolder(); });
  start_->addAction(tr("Open file …"), tr("Choose a file or a session (Ctrl+Alt+F)"),
                    [this] { chooseFile(); });
  if (const QString demo = demoModelPath(); !demo.isEmpty())
    start_->addAction(tr("Demo model"), tr("A small trained model that comes with the program"),
                      [this, demo] { choosePath(demo, start_->purpose()); });
  if (!demoModelPath().isEmpty())
    start_->addAction(tr("Outliers"),
                      tr("A sample session: the demo model with large activations planted in a few "
                         "channels, to see what breaks and which methods mend it"),
                      [this] { openOutliers(); });
  if (remember_ && QFileInfo::exists(lastSessionPath()))
    start_->addAction(tr("Last session"), tr("Everything as it was when the window was closed"),
                      [this] { openPath(lastSessionPath()); });
  connect(start_, &StartPage::chosen, this, &MainWindow::choosePath);
  connect(start_, &StartPage::left, this, &MainWindow::leaveStart);
  connect(start_, &StartPage::forgetWanted, this, &MainWindow::forgetRecent);
}

void MainWindow::openOutliers() {
  openOutlierSample(workbench_, this,
                    [this](const QString& text) { banner_->say(int(LogLevel::info), text); });
}

void MainWindow::showStart(StartPage::Purpose purpose) {
  start_->setPurpose(workbench_.checkpoint() ? purpose : StartPage::Purpose::open);
  start_->setRecent(recent());
  starting_ = workbench_.checkpoint() != nullptr;
  showStage();
  start_->search();
}

void MainWindow::leaveStart() {
  starting_ = false;
  start_->setPurpose(StartPage::Purpose::open);
  showStage();
}

void MainWindow::choosePath(const QString& path, StartPage::Purpose purpose) {
  if (purpose == StartPage::Purpose::beside && workbench_.checkpoint()) {
    leaveStart();
    setStage(0); // where both are seen
    asked_for_ = path;
    workbench_.openSecond(path);
  } else {
    openPath(path);
  }
}

void MainWindow::connectWorkbench() {
  connect(&workbench_, &Workbench::opening, this, [this](const QString& path) {
    banner_->clear();
    asked_for_ = path;
  });
  connect(&workbench_, &Workbench::opened, this, [this] {
    for (auto* action : needs_checkpoint_)
      action->setEnabled(true);
    starting_ = false;
    start_->setPurpose(StartPage::Purpose::open);
    rememberRecent(asked_for_); // as it was named: a manifest says more than its blob
    updateTitle();
    showStage();
    if (!workbench_.checkpoint()->why_not_runnable.empty())
      banner_->say(int(LogLevel::warning),
                   tr("This model can be inspected and quantized, but not run here: %1")
                       .arg(QString::fromStdString(workbench_.checkpoint()->why_not_runnable)));
  });
  connect(&workbench_, &Workbench::secondChanged, this, [this] {
    for (auto* action : needs_second_)
      action->setEnabled(workbench_.second() != nullptr);
    if (workbench_.second() && !asked_for_.isEmpty() &&
        asked_for_ != QString::fromStdString(workbench_.checkpoint()->path.string()))
      rememberRecent(asked_for_);
    details_->showCheckpoint(false);
    if (workbench_.second() && !details_dock_->isFloating()) // room for a third column
      resizeDocks({details_dock_}, {std::max(details_dock_->width(), 320)}, Qt::Horizontal);
    showStage();
  });
  connect(&details_->checkpointPanel(), &CheckpointPanel::besideWanted, this,
          [this] { showStart(StartPage::Purpose::beside); });
  connect(&workbench_, &Workbench::openFailed, this, [this](const QString& text) {
    banner_->say(int(LogLevel::error), text);
    log_->append(int(LogLevel::error), text);
  });
  connect(&workbench_, &Workbench::message, this, [this](int level, const QString& text) {
    log_->append(level, text);
    if (level >= int(LogLevel::warning))
      banner_->say(level, text);
  });
  connect(&workbench_, &Workbench::planChanged, this, [this] {
    if (const QString error = workbench_.planError(); !error.isEmpty())
      banner_->say(int(LogLevel::error), error);
  });
  connect(&workbench_.engine(), &EngineThread::logged, log_, &LogPanel::append);
  connect(&workbench_, &Workbench::modifiedChanged, this, &MainWindow::updateTitle);
  connect(&workbench_, &Workbench::promptOffered, this, [this](const QString& prompt) {
    for (int i = 0; i < stage_widgets_.size(); ++i)
      if (auto* compare = qobject_cast<CompareStage*>(
              QLatin1String(all_stages()[std::size_t(i)]->id) == QLatin1String("compare")
                  ? stageWidget(i)
                  : nullptr)) {
        setStage(i);
        compare->setPrompt(prompt);
      }
  });
}

QWidget* MainWindow::stageWidget(int index) {
  if (index < 0 || index >= stage_widgets_.size())
    return nullptr;
  if (!stage_widgets_[index]) {
    stage_widgets_[index] = all_stages()[std::size_t(index)]->make(workbench_, stack_);
    stack_->addWidget(stage_widgets_[index]);
  }
  return stage_widgets_[index];
}

void MainWindow::setStage(int index) {
  if (index < 0 || index >= stage_widgets_.size())
    return;
  if (index != stage_ && layer_dock_->isVisible() && !layer_dock_->isFloating() &&
      !(stage_ == 0 && workbench_.second()))
    tree_widths_[stage_] = layer_dock_->width();
  stage_ = index;
  starting_ = false;
  showStage();
}

void MainWindow::showStage() {
  header_->setStage(stage_);
  const Stage& stage = *all_stages()[std::size_t(stage_)];
  std::vector<TreeColumn> columns(stage.columns.begin(), stage.columns.end());
  const int width = tree_widths_[stage_];
  if (stage_ == 0 && workbench_.second()) { // the shapes make room for the errors
    std::erase(columns, TreeColumn::shape);
    columns.push_back(TreeColumn::second);
  }
  layers_->setColumns(columns);
  const bool open = workbench_.checkpoint() != nullptr && !starting_;
  if (open && QLatin1String(stage.id) == QLatin1String("plan"))
    Evidence::of(workbench_)->planLookedAt();
  QWidget* shown = open ? stageWidget(stage_) : start_;
  // Only what is shown decides how narrow the middle may get; the tree has the rest.
  for (int i = 0; i < stack_->count(); ++i) {
    QWidget* page = stack_->widget(i);
    page->setSizePolicy(page == shown ? QSizePolicy::Preferred : QSizePolicy::Ignored,
                        QSizePolicy::Preferred);
  }
  stack_->setCurrentWidget(shown);
  stack_->layout()->activate();
  centralWidget()->layout()->activate();
  layer_dock_->setEnabled(workbench_.checkpoint() != nullptr);
  if (!layer_dock_->isFloating())
    resizeDocks({layer_dock_}, {width}, Qt::Horizontal);
}

void MainWindow::openPath(const QString& path) {
  // A recipe is the one JSON file that is neither a session nor part of a checkpoint.
  static const QStringList of_checkpoints{QStringLiteral("config.json"),
                                          QStringLiteral("tokenizer.json"),
                                          QStringLiteral("generation_config.json"),
                                          QStringLiteral("tokenizer_config.json"),
                                          QStringLiteral("model.safetensors.index.json"),
                                          QStringLiteral("adapter_config.json"),
                                          QStringLiteral("result.json")};
  if (path.endsWith(QStringLiteral(".json"), Qt::CaseInsensitive) && workbench_.checkpoint() &&
      !of_checkpoints.contains(QFileInfo(path).fileName()))
    loadRecipe(path);
  else
    workbench_.open(path);
}

QString MainWindow::problem() const { return banner_->text(); }

void MainWindow::updateTitle() {
  const auto& model = workbench_.checkpoint();
  const QString name = !workbench_.sessionPath().isEmpty()
                           ? QFileInfo(workbench_.sessionPath()).completeBaseName()
                       : model ? QString::fromStdString(model->name)
                               : QString();
  setWindowTitle(name.isEmpty() ? tr("Bitlathe") : tr("%1[*] – Bitlathe").arg(name));
  setWindowModified(workbench_.modified());
}

void MainWindow::restoreLayout() {
  if (!remember_)
    return;
  const QSettings settings;
  restoreGeometry(settings.value(QStringLiteral("window/geometry")).toByteArray());
  restoreState(settings.value(QStringLiteral("window/state")).toByteArray(), layout_version);
  const auto widths = settings.value(QStringLiteral("window/tree_widths")).toList();
  for (qsizetype i = 0; i < std::min(widths.size(), tree_widths_.size()); ++i)
    if (widths[i].toInt() > 60)
      tree_widths_[i] = widths[i].toInt();
  stage_ = std::clamp(settings.value(QStringLiteral("window/stage"), 0).toInt(), 0,
                      int(stage_widgets_.size()) - 1);
}

void MainWindow::closeEvent(QCloseEvent* event) {
  if (remember_) {
    tree_widths_[stage_] = layer_dock_->width();
    QVariantList widths;
    for (const int width : tree_widths_)
      widths.append(width);
    QSettings settings;
    settings.setValue(QStringLiteral("window/geometry"), saveGeometry());
    settings.setValue(QStringLiteral("window/state"), saveState(layout_version));
    settings.setValue(QStringLiteral("window/tree_widths"), widths);
    settings.setValue(QStringLiteral("window/stage"), stage_);
    // Closing loses nothing: what was not saved can be taken up again from the welcome page.
    if (workbench_.checkpoint()) {
      QDir().mkpath(QFileInfo(lastSessionPath()).absolutePath());
      QString error;
      if (!workbench_.saveSession(lastSessionPath(), &error))
        qWarning("%s", qPrintable(error));
    }
  }
  event->accept();
}

void MainWindow::dragEnterEvent(QDragEnterEvent* event) {
  const auto urls = event->mimeData()->urls();
  if (!urls.isEmpty() && urls.first().isLocalFile())
    event->acceptProposedAction();
}

void MainWindow::dropEvent(QDropEvent* event) {
  const auto urls = event->mimeData()->urls();
  if (urls.isEmpty() || !urls.first().isLocalFile())
    return;
  event->acceptProposedAction();
  const QString path = urls.first().toLocalFile();
  const bool recipe = path.endsWith(QStringLiteral(".json"), Qt::CaseInsensitive);
  if (!workbench_.checkpoint() || recipe || path.endsWith(QStringLiteral(".bitlathe")))
    openPath(path);
  else if (starting_)
    choosePath(path, start_->purpose());
  else
    offerDrop(path, event->position().toPoint());
  if (urls.size() > 1)
    Q_EMIT workbench_.message(
        int(LogLevel::info),
        tr("%n items were dropped; the first one is opened", nullptr, int(urls.size())));
}

} // namespace bitlathe::gui
