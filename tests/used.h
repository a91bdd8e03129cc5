// SPDX-License-Identifier: GPL-3.0-or-later
// Checkpoints of which every weight is used once: opening alone does not look at values.
#pragma once

#include "core/model/checkpoint.h"
#include "core/schemes/deferred.h"

namespace bitlathe::test {

/// The first error of opening a checkpoint and using its weights one after the other.
inline Result<std::shared_ptr<const Checkpoint>> open_and_use(const fs::path& path) {
  auto opened = open_checkpoint(path);
  if (opened)
    for (const Module& module : (*opened)->modules)
      for (const QTensor* tensor : {&module.weight, &module.bias})
        if (const auto use = tensor->use(); !use)
          return use.error();
  return opened;
}

/// A use of a weight that must be in order.
inline WeightUse used(const QTensor& weight) { return std::move(*weight.use()); }

} // namespace bitlathe::test
