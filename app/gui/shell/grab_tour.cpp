// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/shell/grab_tour.h"

#include "app/gui/inspect/second_errors.h"
#include "app/gui/shell/main_window.h"
#include "app/gui/stage.h"
#include "app/gui/workbench.h"

#include <cstdio>
#include <QDir>
#include <QPixmap>

namespace bitlathe::gui {

namespace {

constexpr int tick_ms = 40, ticks_of_rest = 8;
constexpr qint64 patience_ms = 15 * 60 * 1000;

void tell(const QString& text) { std::fprintf(stderr, "%s\n", qPrintable(text)); }

} // namespace

GrabTour::GrabTour(Workbench& workbench, MainWindow& window, Options options)
    : workbench_(workbench), window_(window), options_(std::move(options)) {
  idle_.setInterval(tick_ms);
  connect(&idle_, &QTimer::timeout, this, [this] {
    idle_ticks_ = workbench_.engine().busy() ? 0 : idle_ticks_ + 1;
    if (clock_.elapsed() > patience_ms) {
      idle_.stop();
      fail(tr("Gave up after 15 minutes"));
    } else if (idle_ticks_ >= ticks_of_rest) {
      idle_.stop();
      const auto then = std::exchange(then_, nullptr);
      then();
    }
  });
  connect(&workbench_, &Workbench::openFailed, this, &GrabTour::fail);
  connect(&workbench_, &Workbench::message, this, [this](int level, const QString& text) {
    tell(text);
    failed_ = failed_ || level >= int(LogLevel::error);
  });
}

void GrabTour::whenIdle(std::function<void()> then) {
  then_ = std::move(then);
  idle_ticks_ = 0;
  idle_.start();
}

void GrabTour::fail(const QString& text) {
  tell(tr("bitlathe: %1").arg(text));
  steps_.clear();
  idle_.stop();
  Q_EMIT finished(1);
}

void GrabTour::next() {
  if (steps_.isEmpty()) {
    Q_EMIT finished(failed_ ? 1 : 0);
    return;
  }
  const auto step = steps_.takeFirst();
  step();
}

void GrabTour::start() {
  clock_.start();
  if (!QDir().mkpath(options_.folder)) {
    fail(tr("Cannot create the folder %1").arg(options_.folder));
    return;
  }
  const auto pause = [this] { whenIdle([this] { next(); }); };
  steps_.append(pause); // the list of models
  steps_.append([this] {
    if (save(QStringLiteral("0-start.png")))
      next();
  });
  steps_.append([this, pause] {
    workbench_.open(options_.model);
    pause();
  });
  steps_.append([this, pause] {
    if (options_.recipe.isEmpty()) {
      next();
      return;
    }
    auto recipe = read_recipe(options_.recipe.toStdString());
    if (!recipe) {
      fail(QString::fromStdString(recipe.error().text()));
      return;
    }
    workbench_.setRecipe(*recipe, tr("Recipe"));
    pause();
  });
  steps_.append([this, pause] {
    if (!workbench_.plan()) {
      fail(workbench_.planError());
      return;
    }
    if (workbench_.checkpoint()->spec)
      workbench_.startCalibration();
    pause();
  });
  steps_.append([this, pause] {
    workbench_.startQuantize();
    pause();
  });
  for (std::size_t i = 0; i < all_stages().size(); ++i) {
    steps_.append([this, pause, i] {
      if (!workbench_.summary()) {
        fail(tr("The quantization failed"));
        return;
      }
      const Stage& stage = *all_stages()[i];
      window_.setStage(int(i));
      if (stage.rehearse)
        stage.rehearse(window_.stageWidget(int(i)));
      pause();
    });
    steps_.append([this, i] { picture(int(i)); });
    if (i > 0)
      continue;
    // The result beside its own source: the overlay that a second checkpoint gets.
    steps_.append([this, pause] {
      workbench_.openSecond(workbench_.resultFolder());
      pause();
    });
    steps_.append([this, pause] {
      SecondErrors::of(workbench_).measureAll();
      pause();
    });
    steps_.append([this, pause] {
      if (save(QStringLiteral("1-inspect-beside.png"))) {
        workbench_.closeSecond();
        pause();
      }
    });
  }
  next();
}

void GrabTour::picture(int stage) {
  const QString name = QStringLiteral("%1-%2.png")
                           .arg(stage + 1)
                           .arg(QString::fromLatin1(all_stages()[std::size_t(stage)]->id));
  if (save(name))
    next();
}

bool GrabTour::save(const QString& name) {
  const QString path = QDir(options_.folder).filePath(name);
  if (!window_.grab().save(path)) {
    fail(tr("Cannot write %1").arg(path));
    return false;
  }
  tell(path);
  return true;
}

} // namespace bitlathe::gui
