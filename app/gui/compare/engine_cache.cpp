// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/compare/engine_cache.h"

#include "app/gui/engine_thread.h"
#include "core/engine/residency.h"

#include <algorithm>

namespace bitlathe::gui {

std::shared_ptr<EngineCache> EngineCache::make(EngineThread& thread) {
  auto cache = std::make_shared<EngineCache>();
  thread.beforeComputeDrops([cache] { cache->clear(); });
  return cache;
}

Result<Engine*> EngineCache::get(const std::shared_ptr<const Checkpoint>& checkpoint,
                                 Compute& compute,
                                 const std::vector<std::shared_ptr<const Checkpoint>>& wanted) {
  if (compute_ != &compute) {
    clear();
    residency_ = default_residency(compute);
  }
  compute_ = &compute;
  for (auto it = engines_.begin(); it != engines_.end();)
    it = std::find(wanted.begin(), wanted.end(), it->first) == wanted.end() ? engines_.erase(it)
                                                                            : std::next(it);
  if (const auto it = engines_.find(checkpoint); it != engines_.end())
    return it->second.get();
  EngineOptions options;
  options.residency = residency_;
  TRY_ASSIGN(auto made, Engine::create(checkpoint, compute, options));
  return engines_.emplace(checkpoint, std::move(made)).first->second.get();
}

std::uint64_t EngineCache::budget(const Compute& compute) {
  return compute.device().backend == "cpu" ? default_weight_budget() : 0;
}

void EngineCache::clear() {
  engines_.clear();
  residency_.reset();
  compute_ = nullptr;
}

} // namespace bitlathe::gui
