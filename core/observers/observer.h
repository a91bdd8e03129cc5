// SPDX-License-Identifier: Apache-2.0
// Observers: how a range [lo, hi] is chosen from values before a grid is laid over it. An observer
// is one file in core/observers/ and one word in core/CMakeLists.txt.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace bitlathe {

struct ObserverContext {
  int bits = 8;
  bool symmetric = true;
};

struct Range {
  float lo = 0, hi = 0;
};

struct Observer {
  std::string_view id, summary;
  /// The range for these finite values (at least one). Deterministic; result within their minimum
  /// and maximum. nullptr: the exact minimum and maximum, which the backends compute themselves.
  Range (*range)(std::span<const float> values, const ObserverContext& context);
};
std::span<const Observer* const> all_observers();
const Observer* find_observer(std::string_view id);

} // namespace bitlathe
