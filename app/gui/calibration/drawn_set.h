// SPDX-License-Identifier: GPL-3.0-or-later
// What the recipe's calibration draws from its files, worked out off the GUI thread whenever files,
// samples, length or seed change: coverage, notes, and what it takes to know the text again. One
// object per workbench.
#pragma once

#include "app/gui/workbench.h"
#include "core/calib/sets.h"

#include <QTimer>

namespace bitlathe::gui {

/// Files up to this size are read beside a running job; larger ones wait their turn in the strip.
constexpr qint64 quick_text = 16 << 20;
/// Bytes of all files together; those that are not there count nothing.
qint64 bytesOf(const std::vector<CalibrationFile>& files);

class DrawnSet : public QObject {
  Q_OBJECT
 public:
  /// The one that belongs to this Workbench.
  static DrawnSet& of(Workbench& workbench);

  /// The last set that could be drawn for what the recipe says now, without its samples; nullptr
  /// while it is being drawn or when it cannot be.
  std::shared_ptr<const CalibrationSet> set() const { return set_; }
  bool drawing() const { return drawing_; }
  QString problem() const { return problem_; }

 Q_SIGNALS:
  void changed();

 private:
  explicit DrawnSet(Workbench& workbench);
  void look();
  void draw();

  struct Wanted {
    std::shared_ptr<const Checkpoint> checkpoint;
    std::vector<CalibrationFile> files;
    std::int64_t samples = 0, length = 0, seed = 0;
    bool operator==(const Wanted&) const = default;
  };
  Workbench& workbench_;
  Wanted wanted_;
  std::shared_ptr<const CalibrationSet> set_;
  QString problem_;
  bool drawing_ = false;
  QTimer settle_;
};

} // namespace bitlathe::gui
