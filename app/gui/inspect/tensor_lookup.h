// SPDX-License-Identifier: GPL-3.0-or-later
// Exact statistics of weights on request, computed once per tensor off the GUI thread and shared by
// everything that shows them.
#pragma once

#include "app/gui/workbench.h"
#include "core/eval/weight_stats.h"

#include <map>

namespace bitlathe::gui {

class TensorLookup : public QObject {
  Q_OBJECT
 public:
  enum Side { original, stored, second };
  /// The one that belongs to this Workbench.
  static TensorLookup& of(Workbench& workbench);

  /// Statistics with channels of the module's weight, of what is stored for it when there is a
  /// result, and of the second checkpoint's; ready() follows, at once when they are known.
  void request(const QString& module);
  std::shared_ptr<const WeightStatistics> find(const QString& module, Side side) const;
  /// The module on one side, nullptr when that side does not have it quantized or at all.
  static const Module* moduleOf(const Workbench& workbench, const QString& module, Side side);
  static std::shared_ptr<const Checkpoint> checkpointOf(const Workbench& workbench, Side side);

 Q_SIGNALS:
  void ready(const QString& module);

 private:
  explicit TensorLookup(Workbench& workbench);
  void compute(const QString& module, Side side);

  Workbench& workbench_;
  std::map<QString, std::shared_ptr<const WeightStatistics>> known_[3];
  QString pending_[3]; ///< what is being computed
};

} // namespace bitlathe::gui
