// SPDX-License-Identifier: GPL-3.0-or-later
// bitlathe [MODEL|SESSION], or `--grab DIR` for pictures of every stage.
#include "app/gui/shell/grab_tour.h"
#include "app/gui/shell/main_window.h"
#include "app/gui/theme.h"
#include "app/gui/workbench.h"
#include "core/job/memory.h"

#include <cstdio>
#include <cstring>
#include <QApplication>
#include <QCommandLineParser>
#include <QSettings>
#include <QTemporaryDir>
#include <QTimer>

namespace {

using namespace bitlathe::gui;

struct Request {
  QString model, grab, recipe;
  QSize size{1440, 900};
  std::optional<ThemeMode> theme;
};

/// Exits with 2 and a line that says why when the arguments make no sense.
Request parse_arguments(const QApplication& app) {
  QCommandLineParser parser;
  parser.setApplicationDescription(
      QApplication::translate("main", "A workbench for compressing language models."));
  parser.addHelpOption();
  parser.addVersionOption();
  const QCommandLineOption grab(
      "grab", "Run the recipe, write a picture of every stage to DIR and exit.", "DIR");
  const QCommandLineOption size("size", "Size of the window for --grab, 1440x900 without it.",
                                "WxH");
  const QCommandLineOption theme("theme", "light or dark.", "NAME");
  const QCommandLineOption recipe("recipe", "Recipe for --grab (JSON).", "FILE");
  parser.addOptions({grab, size, theme, recipe});
  parser.addPositionalArgument("MODEL", "A checkpoint (folder or file) or a session to open.",
                               "[MODEL|SESSION]");
  const auto refuse = [](const QString& why) {
    std::fprintf(stderr, "bitlathe: %s\n", qPrintable(why));
    std::exit(2);
  };
  if (!parser.parse(app.arguments()))
    refuse(parser.errorText());
  if (parser.isSet("help"))
    parser.showHelp(0);
  if (parser.isSet("version"))
    parser.showVersion();
  if (parser.positionalArguments().size() > 1)
    refuse(QStringLiteral("give one checkpoint or session"));
  Request request;
  request.model = parser.positionalArguments().value(0);
  request.grab = parser.value(grab);
  request.recipe = parser.value(recipe);
  if (parser.isSet(size)) {
    const auto parts = parser.value(size).split('x');
    request.size = parts.size() == 2 ? QSize(parts[0].toInt(), parts[1].toInt()) : QSize();
    if (request.size.width() < 640 || request.size.height() < 480 || request.size.width() > 16384 ||
        request.size.height() > 16384)
      refuse(QStringLiteral("--size wants WIDTHxHEIGHT, at least 640x480"));
  }
  if (parser.isSet(theme)) {
    const QString name = parser.value(theme);
    if (name != "light" && name != "dark")
      refuse(QStringLiteral("--theme is light or dark"));
    request.theme = name == "dark" ? ThemeMode::dark : ThemeMode::light;
  }
  if (request.grab.isEmpty() && !request.recipe.isEmpty())
    refuse(QStringLiteral("--recipe goes with --grab; in the window, open recipes by the menu"));
  return request;
}

int grab(QApplication& app, const Request& request) {
  Theme::instance().apply(app, request.theme.value_or(ThemeMode::light));
  QTemporaryDir kept;
  Workbench::setKeptFolder(kept.path());
  Workbench workbench;
  MainWindow window(workbench, false);
  window.resize(request.size);
  window.show();
  const QString model = request.model.isEmpty() ? demoModelPath() : request.model;
  if (model.isEmpty()) {
    std::fprintf(stderr, "bitlathe: no model given, and the demo model is not installed\n");
    return 1;
  }
  GrabTour tour(workbench, window, {model, request.recipe, request.grab});
  int code = 1;
  QObject::connect(&tour, &GrabTour::finished, &app, [&code](int exit_code) {
    code = exit_code;
    QApplication::exit(exit_code);
  });
  QTimer::singleShot(0, &tour, &GrabTour::start);
  app.exec();
  return code;
}

} // namespace

int main(int argc, char** argv) {
  bool wants_grab = false;
  for (int i = 1; i < argc; ++i)
    wants_grab = wants_grab || std::strncmp(argv[i], "--grab", 6) == 0;
  if (wants_grab && qEnvironmentVariableIsEmpty("QT_QPA_PLATFORM") &&
      qEnvironmentVariableIsEmpty("DISPLAY") && qEnvironmentVariableIsEmpty("WAYLAND_DISPLAY"))
    qputenv("QT_QPA_PLATFORM", "offscreen");
  QApplication app(argc, argv);
  QApplication::setOrganizationName("Bitlathe");
  QApplication::setApplicationName("bitlathe");
  QApplication::setApplicationDisplayName("Bitlathe");
  QApplication::setApplicationVersion(BITLATHE_VERSION);
  const Request request = parse_arguments(app);
  bitlathe::start_memory_watch();
  if (!request.grab.isEmpty())
    return grab(app, request);
  const auto remembered = ThemeMode(std::clamp(QSettings().value("window/theme", 0).toInt(), 0, 2));
  Theme::instance().apply(app, request.theme.value_or(remembered));
  Workbench workbench;
  MainWindow window(workbench, true);
  window.show();
  if (!request.model.isEmpty())
    window.openPath(request.model);
  return app.exec();
}
