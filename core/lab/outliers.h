// SPDX-License-Identifier: Apache-2.0
// The outlier laboratory: a copy of a model that computes the same and has the large activation
// channels of big language models. Chosen channels of every norm are multiplied, and the columns
// of the linears that read them are divided. Rounding to nearest then loses what methods that look
// at activations keep.
#pragma once

#include "core/model/checkpoint.h"
#include "kernels/base/feedback.h"

namespace bitlathe {

struct OutlierOptions {
  std::int64_t channels = 8; ///< of every norm
  float factor = 64;         ///< powers of two are exact in every float type
  std::int64_t seed = 0;     ///< which channels
  bool replace = false;      ///< write into a folder that is not empty
  static constexpr float least_factor = 2, largest_factor = 1024;
};

struct PlantedNorm {
  std::string norm;                   ///< module name
  std::vector<std::int64_t> channels; ///< ascending
  std::vector<std::string> readers;   ///< linears whose columns were divided
};
struct PlantedOutliers {
  fs::path path;
  std::uint64_t bytes = 0;
  std::vector<PlantedNorm> norms;
  bool exact = true; ///< every product and quotient is held as it is, none was rounded
  std::vector<std::string> notes;
};

/// Writes a Hugging Face folder with the norms before attention and feed-forward of every block
/// changed, and the list of channels as outliers.json. What a module's float type cannot hold
/// exactly is written as f32, with a note. Errors: "unsupported" for models that cannot be run or
/// are quantized. The folder appears complete or not at all.
Result<PlantedOutliers> plant_outliers(const Checkpoint& checkpoint, const OutlierOptions& options,
                                       const fs::path& folder, Feedback& feedback);

} // namespace bitlathe
