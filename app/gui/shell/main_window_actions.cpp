// SPDX-License-Identifier: GPL-3.0-or-later
// Menus and what they do.
#include "app/gui/inspect/second_errors.h"
#include "app/gui/report/session_report.h"
#include "app/gui/shell/jobs_strip.h"
#include "app/gui/shell/main_window.h"
#include "app/gui/stage.h"
#include "app/gui/tree/layer_panel.h"
#include "app/gui/workbench.h"
#include "core/recipe/recipe.h"

#include <QAction>
#include <QActionGroup>
#include <QApplication>
#include <QDesktopServices>
#include <QDir>
#include <QDirIterator>
#include <QDockWidget>
#include <QFileDialog>
#include <QFileInfo>
#include <QMenu>
#include <QMenuBar>
#include <QMessageBox>
#include <QSettings>
#include <QToolButton>
#include <QUndoStack>
#include <QUrl>

namespace bitlathe::gui {

namespace {

QAction* add(QMenu* menu, const QString& text, const QKeySequence& keys, const QString& tip,
             QObject* context, std::function<void()> what) {
  auto* action = menu->addAction(text);
  action->setShortcut(keys);
  action->setToolTip(tip);
  action->setStatusTip(tip);
  QObject::connect(action, &QAction::triggered, context, std::move(what));
  return action;
}

QMenuBar* menuBarOf(QMainWindow* window) { return window->menuWidget()->findChild<QMenuBar*>(); }

} // namespace

void MainWindow::buildMenus() {
  buildFileMenu();
  buildRecipeMenu();
  buildComputeMenu();
  buildViewMenu();
  buildHelpMenu();
  for (auto* action : needs_checkpoint_)
    action->setEnabled(workbench_.checkpoint() != nullptr);
  for (auto* action : needs_second_)
    action->setEnabled(workbench_.second() != nullptr);
}

void MainWindow::buildFileMenu() {
  auto* menu = menuBarOf(this)->addMenu(tr("&File"));
  menu->setToolTipsVisible(true);
  add(menu, tr("&Open …"), QKeySequence::Open,
      tr("Choose among the models on this machine, or any folder or file"), this,
      [this] { showStart(StartPage::Purpose::open); });
  needs_checkpoint_ +=
      add(menu, tr("Open &beside …"), QKeySequence(tr("Ctrl+Shift+O")),
          tr("Open a second checkpoint to see its histograms over this one's, and its error"), this,
          [this] { showStart(StartPage::Purpose::beside); });
  needs_second_ +=
      add(menu, tr("&Measure all layers against the second"), QKeySequence(tr("Ctrl+Shift+M")),
          tr("The error of every layer of the second checkpoint, over whole tensors"), this,
          [this] { SecondErrors::of(workbench_).measureAll(); });
  needs_second_ += add(menu, tr("Close the seco&nd"), QKeySequence(tr("Ctrl+Shift+W")),
                       tr("Close the checkpoint that is open beside"), this,
                       [this] { workbench_.closeSecond(); });
  menu->addSeparator();
  add(menu, tr("Open &folder …"), QKeySequence(tr("Ctrl+Alt+O")),
      tr("Open a checkpoint folder: Hugging Face layout or a quantized export"), this,
      [this] { chooseFolder(); });
  add(menu, tr("Open f&ile …"), QKeySequence(tr("Ctrl+Alt+F")),
      tr("Open a GGUF or safetensors file, or a session"), this, [this] { chooseFile(); });
  recent_menu_ = menu->addMenu(tr("Open &recent"));
  rebuildRecent();
  if (const QString demo = demoModelPath(); !demo.isEmpty()) {
    add(menu, tr("Open the &demo model"), {}, tr("A small trained model that comes with it"), this,
        [this, demo] { openPath(demo); });
    add(menu, tr("Sample session: planted &outliers"), {},
        tr("The demo model with large activations planted in a few channels: see what breaks, and "
           "which methods mend it"),
        this, [this] { openOutliers(); });
  }
  menu->addSeparator();
  needs_checkpoint_ += add(menu, tr("&Save session"), QKeySequence::Save,
                           tr("Keep checkpoint, recipe, results, prompts and figures in a file"),
                           this, [this] { saveSession(false); });
  needs_checkpoint_ +=
      add(menu, tr("Save session &as …"), QKeySequence(tr("Ctrl+Shift+S")),
          tr("Keep the session under another name"), this, [this] { saveSession(true); });
  needs_checkpoint_ +=
      add(menu, tr("Save &report …"), QKeySequence(tr("Ctrl+Alt+R")),
          tr("Model, recipe, plan, worst layers, figures and votes as a page or a PDF"), this,
          [this] { SessionReport::of(workbench_).ask(QStringLiteral("html"), this); });
  menu->addSeparator();
  add(menu, tr("&Clean up kept results …"), {},
      tr("Kept results let one quantization be exported to several formats; they take space"), this,
      [this] { cleanKept(); });
  menu->addSeparator();
  add(menu, tr("&Quit"), QKeySequence::Quit,
      tr("Close the window; the session can be taken up "
         "again"),
      this, [this] { close(); });
}

void MainWindow::buildRecipeMenu() {
  auto* menu = menuBarOf(this)->addMenu(tr("&Recipe"));
  menu->setToolTipsVisible(true);
  auto* undo = workbench_.undoStack().createUndoAction(this, tr("&Undo"));
  undo->setShortcut(QKeySequence::Undo);
  auto* redo = workbench_.undoStack().createRedoAction(this, tr("&Redo"));
  redo->setShortcuts({QKeySequence(tr("Ctrl+Shift+Z")), QKeySequence(tr("Ctrl+Y"))});
  menu->addAction(undo);
  menu->addAction(redo);
  menu->addSeparator();
  auto* presets = menu->addMenu(tr("&Presets"));
  presets->setToolTipsVisible(true);
  for (const auto& preset : recipe_presets()) {
    const QString title = QString::fromUtf8(preset.title.data(), qsizetype(preset.title.size()));
    needs_checkpoint_ +=
        add(presets, title, {},
            QString::fromUtf8(preset.summary.data(), qsizetype(preset.summary.size())), this,
            [this, title, make = preset.make] {
              Recipe recipe = make();
              recipe.calibration_files = workbench_.recipe().calibration_files;
              workbench_.setRecipe(recipe, tr("Preset %1").arg(title));
            });
  }
  auto* again = add(menu, tr("Allow &quantizing again"), {},
                    tr("Quantize an already quantized checkpoint: its errors add to the new ones"),
                    this, [] {});
  again->setCheckable(true);
  connect(again, &QAction::toggled, &workbench_, &Workbench::setRequantizeAllowed);
  connect(&workbench_, &Workbench::opened, again,
          [this, again] { again->setChecked(workbench_.requantizeAllowed()); });
  needs_checkpoint_ += again;
  needs_checkpoint_ += add(menu, tr("&Load recipe …"), QKeySequence(tr("Ctrl+Shift+R")),
                           tr("Use a recipe from a JSON file; undo takes it back"), this,
                           [this] { chooseRecipe(); });
  needs_checkpoint_ += add(menu, tr("&Save recipe …"), QKeySequence(tr("Ctrl+Shift+E")),
                           tr("Write the recipe as JSON, for the command line and other models"),
                           this, [this] { saveRecipe(); });
}

void MainWindow::buildComputeMenu() {
  auto* menu = menuBarOf(this)->addMenu(tr("&Compute"));
  menu->setToolTipsVisible(true);
  needs_checkpoint_ += add(menu, tr("Cali&brate"), QKeySequence(tr("Ctrl+K")),
                           tr("Run calibration text to see activations"), this,
                           [this] { workbench_.startCalibration(); });
  needs_checkpoint_ += add(menu, tr("&Quantize"), QKeySequence(tr("Ctrl+R")), tr("Run the plan"),
                           this, [this] { workbench_.startQuantize(); });
  add(menu, tr("&Cancel jobs"), QKeySequence(tr("Ctrl+.")),
      tr("Stop everything that runs or waits"), this, [this] { workbench_.engine().cancelAll(); });
  menu->addSeparator();
  auto* group = new QActionGroup(this);
  const QString chosen =
      remember_ ? QSettings().value(QStringLiteral("compute/backend"), "auto").toString()
                : QStringLiteral("auto");
  const struct {
    const char *id, *title, *tip;
  } backends[] = {
      {"auto", "Device: &automatic", "A graphics processor where there is one, else the CPU"},
      {"cpu", "Device: C&PU", "All cores, with the best instruction set they have"},
      {"vulkan", "Device: &Vulkan", "The graphics processor; falls back to the CPU, visibly"}};
  for (const auto& backend : backends) {
    auto* action = add(menu, tr(backend.title), {}, tr(backend.tip), this,
                       [this, id = QString::fromLatin1(backend.id)] {
                         workbench_.engine().setBackend(id);
                         if (remember_)
                           QSettings().setValue(QStringLiteral("compute/backend"), id);
                       });
    action->setCheckable(true);
    action->setChecked(chosen == QLatin1String(backend.id));
    group->addAction(action);
  }
  if (chosen != QLatin1String("auto"))
    workbench_.engine().setBackend(chosen);
}

void MainWindow::buildViewMenu() {
  auto* menu = menuBarOf(this)->addMenu(tr("&View"));
  menu->setToolTipsVisible(true);
  int index = 0;
  for (const auto* stage : all_stages()) {
    add(menu, tr("&%1 %2").arg(index + 1).arg(tr(stage->title)),
        QKeySequence(QStringLiteral("Ctrl+%1").arg(index + 1)), tr(stage->summary), this,
        [this, index] { setStage(index); });
    ++index;
  }
  menu->addSeparator();
  add(menu, tr("&Find a layer"), QKeySequence::Find, tr("Go to the search field of the tree"), this,
      [this] {
        layer_dock_->show();
        layers_->focusSearch();
      });
  const std::pair<QDockWidget*, const char*> docks[] = {
      {layer_dock_, "F6"}, {details_dock_, "F7"}, {log_dock_, "Ctrl+L"}};
  for (const auto& [dock, keys] : docks) {
    QAction* action = dock->toggleViewAction();
    action->setShortcut(QKeySequence(QString::fromLatin1(keys)));
    action->setToolTip(tr("Show or hide this panel"));
    menu->addAction(action);
  }
  menu->addSeparator();
  auto* themes = menu->addMenu(tr("&Theme"));
  auto* group = new QActionGroup(this);
  const std::pair<ThemeMode, const char*> modes[] = {
      {ThemeMode::system, "&System"}, {ThemeMode::light, "&Light"}, {ThemeMode::dark, "&Dark"}};
  for (const auto& [mode, title] : modes) {
    auto* action = themes->addAction(tr(title));
    action->setCheckable(true);
    action->setChecked(Theme::instance().mode() == mode);
    group->addAction(action);
    connect(action, &QAction::triggered, this, [this, mode = mode] { setTheme(mode); });
  }
  add(menu, tr("S&witch light and dark"), QKeySequence(tr("Ctrl+T")), tr("The other theme"), this,
      [this] { setTheme(Theme::instance().dark() ? ThemeMode::light : ThemeMode::dark); });
}

void MainWindow::buildHelpMenu() {
  auto* menu = menuBarOf(this)->addMenu(tr("&Help"));
  add(menu, tr("&About Bitlathe"), {}, tr("Version and licences"), this, [this] { showAbout(); });
  add(menu, tr("About &Qt"), {}, tr("Version and licence of Qt"), this,
      [] { QApplication::aboutQt(); });
}

void MainWindow::setTheme(ThemeMode mode) {
  Theme::instance().apply(*static_cast<QApplication*>(QApplication::instance()), mode);
  if (remember_)
    QSettings().setValue(QStringLiteral("window/theme"), int(mode));
}

void MainWindow::chooseFolder() {
  auto* dialog = new QFileDialog(this, tr("Open a checkpoint folder"));
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->setFileMode(QFileDialog::Directory);
  dialog->setOption(QFileDialog::ShowDirsOnly, false);
  connect(dialog, &QFileDialog::fileSelected, this,
          [this](const QString& path) { choosePath(path, start_->purpose()); });
  dialog->open();
}

void MainWindow::chooseFile() {
  auto* dialog = new QFileDialog(this, tr("Open a checkpoint or a session"));
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->setFileMode(QFileDialog::ExistingFile);
  dialog->setNameFilters(
      {tr("Checkpoints and sessions (*.gguf *.safetensors *.bitlathe)"), tr("All files (*)")});
  connect(dialog, &QFileDialog::fileSelected, this,
          [this](const QString& path) { choosePath(path, start_->purpose()); });
  dialog->open();
}

void MainWindow::saveSession(bool ask_path) {
  const auto save = [this](const QString& path) {
    QString error;
    if (workbench_.saveSession(path, &error)) {
      rememberRecent(path);
      updateTitle();
    } else {
      Q_EMIT workbench_.message(int(LogLevel::error), error);
    }
  };
  if (!ask_path && !workbench_.sessionPath().isEmpty() &&
      workbench_.sessionPath() != lastSessionPath()) {
    save(workbench_.sessionPath());
    return;
  }
  auto* dialog = new QFileDialog(this, tr("Save session"));
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->setAcceptMode(QFileDialog::AcceptSave);
  dialog->setNameFilter(tr("Sessions (*.bitlathe)"));
  dialog->setDefaultSuffix(QStringLiteral("bitlathe"));
  dialog->selectFile(QString::fromStdString(workbench_.checkpoint()->name) + ".bitlathe");
  connect(dialog, &QFileDialog::fileSelected, this, save);
  dialog->open();
}

void MainWindow::loadRecipe(const QString& path) {
  workbench_.engine().run<Recipe>(
      QStringLiteral("recipe"), tr("Reading %1").arg(QFileInfo(path).fileName()), this,
      [path](Feedback&, Compute&) { return read_recipe(path.toStdString()); },
      [this, path](Result<Recipe> recipe) {
        if (recipe)
          workbench_.setRecipe(*recipe, tr("Load %1").arg(QFileInfo(path).fileName()));
        else if (!recipe.error().cancelled())
          Q_EMIT workbench_.message(int(LogLevel::error),
                                    QString::fromStdString(recipe.error().text()));
      },
      false);
}

void MainWindow::chooseRecipe() {
  auto* dialog = new QFileDialog(this, tr("Load a recipe"));
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->setFileMode(QFileDialog::ExistingFile);
  dialog->setNameFilter(tr("Recipes (*.json)"));
  connect(dialog, &QFileDialog::fileSelected, this, &MainWindow::loadRecipe);
  dialog->open();
}

void MainWindow::saveRecipe() {
  auto* dialog = new QFileDialog(this, tr("Save the recipe"));
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->setAcceptMode(QFileDialog::AcceptSave);
  dialog->setNameFilter(tr("Recipes (*.json)"));
  dialog->setDefaultSuffix(QStringLiteral("json"));
  dialog->selectFile(QStringLiteral("recipe.json"));
  connect(dialog, &QFileDialog::fileSelected, this, [this](const QString& path) {
    workbench_.engine().run<int>(
        QStringLiteral("save-recipe"), tr("Writing %1").arg(QFileInfo(path).fileName()), this,
        [path, recipe = workbench_.recipe()](Feedback&, Compute&) -> Result<int> {
          TRY(write_recipe(path.toStdString(), recipe));
          return 0;
        },
        [this, path](Result<int> done) {
          if (done)
            Q_EMIT workbench_.message(int(LogLevel::info), tr("Recipe written to %1").arg(path));
          else
            Q_EMIT workbench_.message(int(LogLevel::error),
                                      QString::fromStdString(done.error().text()));
        },
        false);
  });
  dialog->open();
}

QStringList MainWindow::recent() const {
  return remember_ ? QSettings().value(QStringLiteral("recent")).toStringList() : QStringList();
}

void MainWindow::rememberRecent(const QString& path) {
  if (!remember_ || path.isEmpty() || path == lastSessionPath())
    return;
  QStringList list = recent();
  list.removeAll(path);
  list.prepend(path);
  while (list.size() > 12)
    list.removeLast();
  QSettings().setValue(QStringLiteral("recent"), list);
  rebuildRecent();
}

void MainWindow::forgetRecent(const QString& path) {
  if (!remember_)
    return;
  QStringList list = recent();
  list.removeAll(path);
  QSettings().setValue(QStringLiteral("recent"), list);
  rebuildRecent();
}

void MainWindow::rebuildRecent() {
  recent_menu_->clear();
  const QStringList list = recent();
  for (const auto& path : list)
    connect(recent_menu_->addAction(QDir::toNativeSeparators(path)), &QAction::triggered, this,
            [this, path] { openPath(path); });
  recent_menu_->setEnabled(!list.isEmpty());
}

void MainWindow::offerDrop(const QString& path, const QPoint& at) {
  auto* menu = new QMenu(this);
  menu->setAttribute(Qt::WA_DeleteOnClose);
  menu->setToolTipsVisible(true);
  add(menu, tr("&Open instead"), {}, tr("Take the place of the open checkpoint"), this,
      [this, path] { choosePath(path, StartPage::Purpose::open); });
  add(menu, tr("Open &beside"), {},
      tr("As a second checkpoint: histograms over each other, error per layer"), this,
      [this, path] { choosePath(path, StartPage::Purpose::beside); });
  add(menu, tr("Add to &Compare"), {}, tr("Generate and measure with it beside the others"), this,
      [this, path] { workbench_.addContender(path); });
  menu->popup(mapToGlobal(at));
}

void MainWindow::cleanKept() {
  struct Size {
    quint64 bytes = 0;
    int entries = 0;
  };
  workbench_.engine().run<Size>(
      QStringLiteral("kept-size"), tr("Measuring kept results"), this,
      [root = Workbench::keptFolder()](Feedback&, Compute&) -> Result<Size> {
        Size size;
        size.entries = int(QDir(root).entryList(QDir::AllEntries | QDir::NoDotAndDotDot).size());
        QDirIterator it(root, QDir::Files, QDirIterator::Subdirectories);
        while (it.hasNext()) {
          it.next();
          size.bytes += quint64(it.fileInfo().size());
        }
        return size;
      },
      [this](Result<Size> size) {
        if (!size)
          return;
        auto* box = new QMessageBox(
            QMessageBox::Question, tr("Clean up kept results"),
            tr("%n kept results and statistics take %1 in\n%2\n\nRemove all but those of this "
               "window? Saved sessions that use them will have to quantize again.",
               nullptr, size->entries)
                .arg(QLocale().formattedDataSize(qint64(size->bytes)), Workbench::keptFolder()),
            QMessageBox::Yes | QMessageBox::Cancel, this);
        box->setAttribute(Qt::WA_DeleteOnClose);
        connect(box, &QMessageBox::finished, this, [this](int answer) {
          if (answer == QMessageBox::Yes)
            workbench_.cleanKept();
        });
        box->open();
      },
      false);
}

void MainWindow::showAbout() {
  auto* box = new QMessageBox(
      QMessageBox::NoIcon, tr("About Bitlathe"),
      tr("<h3>Bitlathe %1</h3><p>A workbench for compressing language models: look, choose, "
         "predict, quantize, measure, look again.</p>"
         "<p>The program is free software under the GNU General Public License, version 3 or "
         "later. Its engine (core, kernels, shaders) and the demo model are under the Apache "
         "License 2.0.</p>"
         "<p>It uses Qt %2 (LGPL-3), Qt Charts (GPL-3), oneAPI Threading Building Blocks "
         "(Apache-2.0), JSON for Modern C++ (MIT) and the Vulkan loader (Apache-2.0).</p>")
          .arg(QStringLiteral(BITLATHE_VERSION), QString::fromLatin1(qVersion())),
      QMessageBox::Close, this);
  box->setAttribute(Qt::WA_DeleteOnClose);
  box->setTextFormat(Qt::RichText);
  box->setModal(false);
  box->show();
}

} // namespace bitlathe::gui
