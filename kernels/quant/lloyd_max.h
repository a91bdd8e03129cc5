// SPDX-License-Identifier: Apache-2.0
// Codebooks of least squared error by Lloyd's iteration (S. Lloyd 1957; J. Max 1960): every value
// goes to the nearest entry, every entry is the mean of its values, until nothing moves.
#pragma once

#include "kernels/matrix.h"

#include <cstdint>
#include <span>
#include <vector>

namespace bitlathe {

/// Distinct finite values in ascending order and what each weighs (not negative).
struct WeightedValues {
  std::vector<float> values;
  std::vector<double> weights;
};
/// Sorts, and adds up the weights of equal values; -0 is 0. `weights` is empty or one per value.
WeightedValues weighted_values(std::span<const float> values, std::span<const double> weights);

/// `entries` ascending values, rounded to `stored`; with fewer distinct values the last is
/// repeated. Tried starts: equal shares of the cube root of the density, and up to 32 entries the
/// optimum over runs of values (single values when there are no more than 256), else equal steps.
/// The better result is kept; its entries are the rounded means of their values.
std::vector<float> lloyd_max(const WeightedValues& values, int entries, FloatType stored);

/// Boundaries between the entries of an ascending codebook: x > out[i] is nearer to entry i + 1.
std::vector<double> codebook_boundaries(std::span<const float> codebook);
/// Index of the nearest entry; halfway between two, of the lower one.
std::uint8_t nearest_entry(std::span<const double> boundaries, float x);

} // namespace bitlathe
