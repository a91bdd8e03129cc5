// SPDX-License-Identifier: Apache-2.0
// Quick passes over values on the CPU, for pictures: ranges without the sums of Moments, and counts
// of bit patterns from which every histogram of a 16-bit type follows. The same figures as
// Compute::moments() and Compute::histogram() give, at the speed of reading.
#pragma once

#include "kernels/base/feedback.h"
#include "kernels/base/result.h"
#include "kernels/matrix.h"

#include <cstdint>
#include <span>

namespace bitlathe {

/// NaN and infinities are counted and left out of everything else; zero is never negative.
struct ValueRange {
  std::uint64_t count = 0, nan = 0, inf = 0;
  float min = 0, max = 0;
  void add(const ValueRange& other);
};
Result<ValueRange> value_range(const FloatView& w, const Feedback* feedback = nullptr);

constexpr std::size_t bit_patterns = 65536;
/// counts[p] += number of values with the bit pattern p; `w` has a 16-bit type and counts has
/// bit_patterns entries.
Result<void> count_patterns(const FloatView& w, std::span<std::uint64_t> counts,
                            const Feedback* feedback = nullptr);
/// The range of counted values, and their histogram by the rule of Compute::histogram().
ValueRange pattern_range(FloatType type, std::span<const std::uint64_t> patterns);
void pattern_histogram(FloatType type, std::span<const std::uint64_t> patterns, float lo, float hi,
                       std::span<std::uint64_t> counts);

} // namespace bitlathe
