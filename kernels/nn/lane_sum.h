// SPDX-License-Identifier: Apache-2.0
// The sum that norms take, forward and backward.
#pragma once

#include <cstdint>

namespace bitlathe {

/// Eight fixed lanes: fast without fusing, and the same on every machine.
template <class Term> double sum_of(std::int64_t n, Term term) {
  double lane[8] = {};
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int l = 0; l < 8; ++l)
      lane[l] += term(i + l);
  for (; i < n; ++i)
    lane[i % 8] += term(i);
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

} // namespace bitlathe
