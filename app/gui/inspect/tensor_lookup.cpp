// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/inspect/tensor_lookup.h"

namespace bitlathe::gui {

TensorLookup& TensorLookup::of(Workbench& workbench) {
  auto* existing = workbench.findChild<TensorLookup*>({}, Qt::FindDirectChildrenOnly);
  return existing ? *existing : *new TensorLookup(workbench);
}

TensorLookup::TensorLookup(Workbench& workbench) : QObject(&workbench), workbench_(workbench) {
  const auto forget = [this](std::initializer_list<Side> sides) {
    for (const Side side : sides) {
      known_[side].clear();
      pending_[side].clear();
    }
  };
  connect(&workbench, &Workbench::opened, this, [forget] { forget({original, stored, second}); });
  connect(&workbench, &Workbench::resultsChanged, this, [forget] { forget({stored}); });
  connect(&workbench, &Workbench::secondChanged, this, [forget] { forget({second}); });
}

std::shared_ptr<const Checkpoint> TensorLookup::checkpointOf(const Workbench& workbench,
                                                             Side side) {
  return side == original ? workbench.checkpoint()
         : side == stored ? workbench.quantized()
                          : workbench.second();
}

const Module* TensorLookup::moduleOf(const Workbench& workbench, const QString& module, Side side) {
  if (side == second) {
    const Module* found = workbench.secondModule(module);
    return found && found->weight.scheme.family ? found : nullptr;
  }
  const auto checkpoint = checkpointOf(workbench, side);
  const Module* found = checkpoint ? checkpoint->find_module(module.toStdString()) : nullptr;
  if (found && !found->weight.scheme.family)
    return nullptr; // a type that cannot be decoded
  if (side == stored && found) {
    // A module that was kept has nothing of its own to show.
    const Module* source = moduleOf(workbench, module, original);
    if (source && source->weight.scheme == found->weight.scheme)
      return nullptr;
  }
  return found;
}

std::shared_ptr<const WeightStatistics> TensorLookup::find(const QString& module, Side side) const {
  const auto it = known_[side].find(module);
  return it == known_[side].end() ? nullptr : it->second;
}

void TensorLookup::request(const QString& module) {
  bool waiting = false;
  for (const Side side : {original, stored, second})
    if (moduleOf(workbench_, module, side) && !find(module, side)) {
      if (pending_[side] != module)
        compute(module, side);
      waiting = true;
    }
  if (!waiting)
    Q_EMIT ready(module);
}

void TensorLookup::compute(const QString& module, Side side) {
  using Known = std::shared_ptr<const WeightStatistics>;
  const auto checkpoint = checkpointOf(workbench_, side);
  const Module* found = moduleOf(workbench_, module, side);
  static constexpr const char* tags[] = {"lookup-original", "lookup-stored", "lookup-second"};
  pending_[side] = module;
  workbench_.engine().run<Known>(
      QString::fromLatin1(tags[side]), tr("Statistics of %1").arg(module), this,
      [checkpoint, found](Feedback& feedback, Compute& compute) -> Result<Known> {
        TRY_ASSIGN(auto statistics, weight_statistics(*found, compute, true, feedback));
        return std::make_shared<const WeightStatistics>(std::move(statistics));
      },
      [this, module, side, checkpoint](Result<Known> done) {
        if (pending_[side] == module && (done || !done.error().cancelled()))
          pending_[side].clear();
        if (checkpoint != checkpointOf(workbench_, side))
          return;
        if (done) {
          constexpr std::size_t most_kept = 32; // with channels, one can take megabytes
          if (known_[side].size() >= most_kept)
            known_[side].erase(known_[side].begin());
          known_[side][module] = *done;
          Q_EMIT ready(module);
        } else if (!done.error().cancelled()) {
          Q_EMIT workbench_.message(int(LogLevel::error),
                                    QString::fromStdString(done.error().text()));
        }
      },
      false);
}

} // namespace bitlathe::gui
