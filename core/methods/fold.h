// SPDX-License-Identifier: Apache-2.0
// Scales moved between neighbours without changing what a block computes: what a norm or a linear
// gives is divided by a scale per channel, and the columns of the linears that read it are
// multiplied. AWQ and SmoothQuant choose the scales.
#pragma once

#include "core/methods/block.h"

namespace bitlathe {

/// One place where scales can move.
struct Fold {
  std::string_view name;         ///< "attention", "mlp", "o", "down": what the targets read
  BlockWeight* norm = nullptr;   ///< the source, or
  BlockLinear* source = nullptr; ///< rows of this linear
  std::vector<BlockLinear*> targets;
  std::int64_t channels = 0;            ///< number of scales that can be chosen
  std::vector<std::int32_t> channel_of; ///< column of the targets -> channel
  std::vector<std::int64_t> row_of;     ///< channel -> row of the source linear
};

/// All places of a block: norms before attention and feed-forward, value rows before the output
/// projection (key heads that several query heads read share theirs), and up before down where the
/// activation lets a scale pass.
std::vector<Fold> folds_of(CalibratedBlock& block);

/// Moves the scales (all above 0). A norm keeps its stored type: its values are rounded first and
/// the columns take up what rounding leaves, so the block computes the same. Input statistics
/// follow.
void apply_fold(const Fold& fold, std::span<const float> scales, const ModelSpec& spec);

} // namespace bitlathe
