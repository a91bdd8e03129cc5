// SPDX-License-Identifier: Apache-2.0
// One checkpoint's weights against another's, module by module: the original against someone else's
// quantization, whatever the formats.
#pragma once

#include "core/model/checkpoint.h"
#include "kernels/compute/compute.h"

#include <map>

namespace bitlathe {

/// Finds the modules of another checkpoint that correspond to those of a first one: by name, and
/// where names differ (another prefix, GGUF's own names) by block and what the module is there,
/// when that is unambiguous.
class ModuleMatcher {
 public:
  ModuleMatcher(const Checkpoint& first, const Checkpoint& other);
  /// nullptr when the other checkpoint has none.
  const Module* find(const Module& of_first) const;
  /// Modules of the other checkpoint that correspond to nothing.
  std::vector<const Module*> left_over() const;

 private:
  std::map<std::string, const Module*, std::less<>> pairs_; ///< by the first one's names
  std::vector<const Module*> left_over_;
};

/// Why two weights cannot be compared value by value; empty when they can.
std::string why_not_comparable(const Module& first, const Module& other);

/// Sums over every pair of values (first w, other v), both decoded: mse, sqnr_db, cosine and the
/// largest difference. Error "mismatch" with the reason when they are not comparable.
Result<ErrorSums> weight_error(const Module& first, const Module& other, Compute& compute,
                               Feedback& feedback);

} // namespace bitlathe
