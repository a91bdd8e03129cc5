// SPDX-License-Identifier: Apache-2.0
// What each observer would choose for a weight under a scheme, what error that brings, and what the
// theory of uniform rounding says of it.
#pragma once

#include "core/methods/method.h"

namespace bitlathe {

struct ObserverView {
  std::string observer;
  float lo = 0, hi = 0;          ///< of the whole tensor: the widest of its groups
  std::vector<float> codes;      ///< values of the group with the largest magnitude, ascending
  double mse = 0, sqnr_db = 0;   ///< measured on the codes of the whole tensor
  double clipped = 0, zeros = 0; ///< share of the values: beyond their group's codes, 0
  double clipped_error = 0;      ///< their share of the squared error
  double step = 0;               ///< root of the mean squared step s over all values
  double theory_mse = 0, theory_db = 0; ///< s^2 / 12, and 6.02 b + 4.77 - 20 log10(x_max / sigma)
  std::string remark;                   ///< why measured and theory differ; empty when they do not
};

/// For integer schemes and 8-bit floats (whose steps follow the values: they have no theory, and
/// theory_mse is 0). An error "unsupported" for schemes that observers have no say in.
Result<std::vector<ObserverView>> compare_observers(const FloatView& weight, const Scheme& scheme,
                                                    std::span<const float> importance,
                                                    Compute& compute, Feedback& feedback);

} // namespace bitlathe
