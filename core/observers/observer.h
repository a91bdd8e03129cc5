// SPDX-License-Identifier: Apache-2.0
// Observers: how a range [lo, hi] is chosen from values before a grid is laid over it. An observer
// is one file in core/observers/ and one word in core/CMakeLists.txt.
#pragma once

#include "kernels/matrix.h"

#include <cstdint>
#include <span>
#include <string_view>

namespace bitlathe {

struct ObserverContext {
  int bits = 8;
  bool symmetric = true;
  FloatType scale_type = FloatType::f32; ///< how the grid's scale will be stored
  /// What the values are coded as; 8-bit floats have scale = absmax / their largest value.
  enum class Element : std::uint8_t { integer, f8_e4m3, f8_e5m2 } element = Element::integer;
};

struct Range {
  float lo = 0, hi = 0;
};

/// Finite values, at least one, in any order.
struct Observed {
  std::span<const float> values;
  std::span<const double> counts = {};  ///< how often each occurs; empty: once
  std::span<const double> weights = {}; ///< what the squared error of each counts in all; empty:
                                        ///< as often as it occurs
};

struct Observer {
  std::string_view id, summary;
  /// The range for these values; its ends lie within the least and the greatest of them, or of
  /// their magnitudes. Deterministic. nullptr: the exact minimum and maximum, which the backends
  /// compute themselves.
  Range (*range)(const Observed& observed, const ObserverContext& context);
};
std::span<const Observer* const> all_observers();
const Observer* find_observer(std::string_view id);

/// Sum of squared errors of the values when they are coded with the grid of a range.
double coding_error(const Observed& observed, const Range& range, const ObserverContext& context);

} // namespace bitlathe
