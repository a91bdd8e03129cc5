// SPDX-License-Identifier: GPL-3.0-or-later
// The text that figures are measured on: which file or part of it, how it is cut into windows, and
// where it meets calibration text: of the models to be measured, and of what the recipe would
// calibrate on. Overlaps are looked for off the GUI thread. One object per workbench.
#pragma once

#include "app/gui/workbench.h"

#include <QDateTime>
#include <QTimer>

namespace bitlathe::gui {

class EvaluationText : public QObject {
  Q_OBJECT
 public:
  /// The one that belongs to this Workbench.
  static EvaluationText& of(Workbench& workbench);

  struct Choice {
    QString path, part; ///< part empty: all of the file
    int context = 256, windows = 32;
    bool operator==(const Choice&) const = default;
  };
  const Choice& choice() const { return choice_; }
  void choose(const Choice& choice);
  CalibrationFile file() const; ///< as core reads it
  using Judged = std::shared_ptr<const JudgedFile>;
  /// Reads it for the open checkpoint's tokenizer, off the GUI thread; "cancelled" when another
  /// checkpoint was opened meanwhile. `purpose` tells requests apart: a newer one of the same
  /// purpose takes the older one's place.
  void read(const QString& purpose, QObject* context, std::function<void(Result<Judged>)> then);

  /// Where models to be measured were calibrated on the text; a sentence each.
  const QStringList& notes() const { return notes_; }
  /// Whether what the recipe would calibrate on shares text with it; empty: no, or not known.
  const QString& setNote() const { return set_note_; }

 Q_SIGNALS:
  void changed();         ///< choice()
  void overlapsChanged(); ///< notes() or setNote()

 private:
  explicit EvaluationText(Workbench& workbench);
  void restore();
  void look();

  /// The tokens, kept while the same file is looked at.
  struct Read {
    std::shared_ptr<const Checkpoint> checkpoint;
    QString path, part;
    QDateTime written;
    std::shared_ptr<const JudgedFile> judged;
  };
  struct Overlaps {
    Read read;
    QStringList notes;
    QString set_note;
  };
  Workbench& workbench_;
  Choice choice_;
  Read read_;
  QStringList notes_;
  QString set_note_;
  QTimer settle_;
};

} // namespace bitlathe::gui
