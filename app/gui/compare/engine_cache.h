// SPDX-License-Identifier: GPL-3.0-or-later
// Engines kept between generations, one per checkpoint, so that a second prompt starts at once. On
// the CPU they share a memory for weights: models that do not fit together take turns.
// Lives on the thread that runs jobs: everything but make() is called there only.
#pragma once

#include "core/engine/engine.h"
#include "core/engine/residency.h"

#include <map>
#include <memory>
#include <vector>

namespace bitlathe::gui {

class EngineThread;

class EngineCache {
 public:
  /// Empties itself before the thread's Compute goes.
  static std::shared_ptr<EngineCache> make(EngineThread& thread);

  /// The engine of `checkpoint` on `compute`; made when it is not there. Engines of checkpoints
  /// that are not in `wanted` are dropped first.
  Result<Engine*> get(const std::shared_ptr<const Checkpoint>& checkpoint, Compute& compute,
                      const std::vector<std::shared_ptr<const Checkpoint>>& wanted);
  void clear();
  /// Bytes of weights that are kept at once; 0: no limit.
  static std::uint64_t budget(const Compute& compute);
  std::size_t size() const { return engines_.size(); }

 private:
  Compute* compute_ = nullptr;
  std::shared_ptr<Residency> residency_; ///< models that do not fit take turns
  std::map<std::shared_ptr<const Checkpoint>, std::unique_ptr<Engine>> engines_;
};

} // namespace bitlathe::gui
