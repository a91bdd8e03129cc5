// SPDX-License-Identifier: GPL-3.0-or-later
// What every registered format says about one model: what fits, what falls back to what, what is
// refused, and the size. Worked out off the GUI thread; no weight is read.
#pragma once

#include "core/export/doctor.h"

#include <memory>
#include <QHash>
#include <QList>
#include <QString>

namespace bitlathe::gui {

struct FormatFallback {
  QString module, from, to, reason;
};

struct FormatReport {
  QString id;
  QString problem;               ///< why nothing can be said; empty when something can
  std::vector<Finding> findings; ///< refusals first, then warnings, then notes
  std::vector<FormatFallback> fallbacks;
  int modules = 0, refused = 0; ///< of the model; refused: those the format cannot hold
  std::vector<ExportPrediction::File> files;
  quint64 bytes = 0, weight_bytes = 0; ///< of all files, and of those that are not texts
  double bits_per_weight = 0;
  int held() const { return std::max(0, modules - refused - int(fallbacks.size())); }
  /// What a loader is given, below the export's folder: a single file, or "" for the folder.
  QString checkpoint() const;
};

struct FormatQuestion {
  std::shared_ptr<const Checkpoint> model;
  std::shared_ptr<const Plan> plan; ///< nullptr: the model as it is
  QHash<QString, QString> folders;  ///< by format: for the space on the disk
  ExportOptions options;            ///< all but the folder and the label
  QString result;                   ///< folder of the kept result that `model` is; empty: none
};
Result<QList<FormatReport>> examineFormats(const FormatQuestion& question, Feedback& feedback);

/// The recipe with a rule of its own for every module that falls back, after all others.
Recipe withFallbacks(Recipe recipe, const std::vector<FormatFallback>& fallbacks);

} // namespace bitlathe::gui
