// SPDX-License-Identifier: Apache-2.0
// A checkpoint in a few lines: which schemes it mixes, and the facts of its configuration that
// people look for. Reads what the files say, whether or not the model can be run.
#pragma once

#include "core/model/checkpoint.h"

namespace bitlathe {

struct CheckpointSummary {
  struct Share {
    std::string scheme;
    int modules = 0;
    std::uint64_t bytes = 0;
    double bits = 0; ///< of one value as stored, scales included
  };
  std::vector<Share> schemes; ///< most bytes first; a tied head counts with its embedding
  bool mixed = false;         ///< matrices of products are stored in more than one scheme
  double bits_per_weight = 0; ///< over the whole model
  std::vector<std::pair<std::string, std::string>> facts; ///< "rope", "theta 500000, ...", ...

  /// "q4_k × 168, q6_k × 25, f32 × 73".
  std::string schemes_text() const;
  /// Empty when there is no such fact.
  std::string fact(std::string_view name) const;
};
CheckpointSummary summarize(const Checkpoint& checkpoint);

/// A metadata value as one line: long texts and lists are cut, with their length.
std::string gguf_value_text(const GgufValue& value, std::size_t most_characters = 120);
std::string_view gguf_value_type(const GgufValue& value); ///< "u32", "string", "array of i32", ...

} // namespace bitlathe
