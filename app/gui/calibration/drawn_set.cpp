// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/calibration/drawn_set.h"

#include <QFileInfo>

namespace bitlathe::gui {

qint64 bytesOf(const std::vector<CalibrationFile>& files) {
  qint64 bytes = 0;
  for (const CalibrationFile& file : files)
    bytes += QFileInfo(QString::fromStdString(file.path)).size();
  return bytes;
}

DrawnSet& DrawnSet::of(Workbench& workbench) {
  auto* existing = workbench.findChild<DrawnSet*>({}, Qt::FindDirectChildrenOnly);
  return existing ? *existing : *new DrawnSet(workbench);
}

DrawnSet::DrawnSet(Workbench& workbench) : QObject(&workbench), workbench_(workbench) {
  settle_.setSingleShot(true);
  settle_.setInterval(120); // spin boxes and undo change the recipe in bursts
  connect(&settle_, &QTimer::timeout, this, &DrawnSet::draw);
  connect(&workbench, &Workbench::opened, this, &DrawnSet::look);
  connect(&workbench, &Workbench::recipeChanged, this, &DrawnSet::look);
  look();
}

void DrawnSet::look() {
  const Recipe& recipe = workbench_.recipe();
  Wanted now{workbench_.checkpoint(), workbench_.calibrationFiles(), recipe.samples, recipe.length,
             recipe.calibration_seed};
  if (now == wanted_)
    return;
  wanted_ = std::move(now);
  set_.reset();
  problem_.clear();
  drawing_ = wanted_.checkpoint && wanted_.checkpoint->spec && !wanted_.files.empty();
  if (drawing_)
    settle_.start();
  else
    settle_.stop();
  Q_EMIT changed();
}

void DrawnSet::draw() {
  workbench_.engine().run<CalibrationSet>(
      QStringLiteral("calibration-coverage"), tr("Reading calibration text"), this,
      [wanted = wanted_](Feedback&, Compute&) -> Result<CalibrationSet> {
        TRY_ASSIGN(CalibrationSet set,
                   draw_calibration(*wanted.checkpoint, wanted.files, wanted.samples, wanted.length,
                                    wanted.seed));
        set.samples = {}; // only looked at
        return set;
      },
      [this, wanted = wanted_](Result<CalibrationSet> drawn) {
        if (!(wanted == wanted_))
          return; // the next one is on its way
        drawing_ = false;
        if (drawn)
          set_ = std::make_shared<const CalibrationSet>(std::move(*drawn));
        else if (!drawn.error().cancelled())
          problem_ = QString::fromStdString(drawn.error().text());
        Q_EMIT changed();
      },
      bytesOf(wanted_.files) > quick_text);
}

} // namespace bitlathe::gui
