// SPDX-License-Identifier: Apache-2.0
// Loading and dropping the weight of one linear. Internal to core/engine.
#pragma once

#include "core/engine/weights.h"

namespace bitlathe {

/// How weights are run.
struct WeightForm {
  Compute& compute;
  bool round_to_f16 = false; ///< bf16 for an f16 source
};

/// The values of a small tensor.
Result<std::vector<float>> decoded(const QTensor& tensor, const WeightForm& form,
                                   std::int64_t& clipped);

/// Makes the weight ready; `embedding` is what a tied head uses, and is loaded already.
Result<void> load_linear(Linear& linear, const WeightForm& form, const Linear* embedding = nullptr);
/// Gives back all memory of it, mapped pages too.
void drop_linear(Linear& linear);

struct LinearBytes {
  std::uint64_t own = 0;    ///< beyond the map
  std::uint64_t mapped = 0; ///< that products go through
  std::uint64_t total() const { return own + mapped; }
};
/// Of a loaded one.
LinearBytes loaded_bytes(const Linear& linear);
/// What it will be on a backend that copies nothing.
LinearBytes expected_bytes(const Linear& linear, const WeightForm& form);

} // namespace bitlathe
