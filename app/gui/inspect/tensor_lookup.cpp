// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/inspect/tensor_lookup.h"

namespace bitlathe::gui {

TensorLookup& TensorLookup::of(Workbench& workbench) {
  auto* existing = workbench.findChild<TensorLookup*>({}, Qt::FindDirectChildrenOnly);
  return existing ? *existing : *new TensorLookup(workbench);
}

TensorLookup::TensorLookup(Workbench& workbench) : QObject(&workbench), workbench_(workbench) {
  connect(&workbench, &Workbench::opened, this, [this] {
    known_[original].clear();
    known_[stored].clear();
    pending_[original].clear();
    pending_[stored].clear();
  });
  connect(&workbench, &Workbench::resultsChanged, this, [this] {
    known_[stored].clear();
    pending_[stored].clear();
  });
}

const Module* TensorLookup::moduleOf(const Workbench& workbench, const QString& module, Side side) {
  const auto checkpoint = side == original ? workbench.checkpoint() : workbench.quantized();
  const Module* found = checkpoint ? checkpoint->find_module(module.toStdString()) : nullptr;
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
  for (const Side side : {original, stored})
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
  const auto checkpoint = side == original ? workbench_.checkpoint() : workbench_.quantized();
  pending_[side] = module;
  workbench_.engine().run<Known>(
      side == original ? QStringLiteral("lookup-original") : QStringLiteral("lookup-stored"),
      tr("Statistics of %1").arg(module), this,
      [checkpoint, name = module.toStdString()](Feedback& feedback,
                                                Compute& compute) -> Result<Known> {
        TRY_ASSIGN(auto statistics,
                   weight_statistics(*checkpoint->find_module(name), compute, true, feedback));
        return std::make_shared<const WeightStatistics>(std::move(statistics));
      },
      [this, module, side, checkpoint](Result<Known> done) {
        if (pending_[side] == module && (done || !done.error().cancelled()))
          pending_[side].clear();
        if (checkpoint != (side == original ? workbench_.checkpoint() : workbench_.quantized()))
          return;
        if (done) {
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
