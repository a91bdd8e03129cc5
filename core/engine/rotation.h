// SPDX-License-Identifier: Apache-2.0
// Rotary positions for sequences of any length: scaling may depend on it.
#pragma once

#include "core/model/spec.h"
#include "kernels/nn/nn.h"

#include <cmath>

namespace bitlathe {

class Rotation {
 public:
  /// `spec` must outlive this. `back`: turns the other way, the way back of gradients.
  explicit Rotation(const RopeSpec& spec, bool back = false)
      : spec_(spec), back_(back), rope_(make(spec.theta, spec.factors)),
        long_rope_(spec.long_factors.empty() ? rope_ : make(spec.theta, spec.long_factors)) {}

  bool turns() const { return spec_.dims > 0; }
  /// Whether a sequence of `before` tokens must be run again when it grows to `after`.
  bool changes(std::int64_t before, std::int64_t after) const {
    return !spec_.long_factors.empty() && before > 0 && before <= spec_.original_context &&
           after > spec_.original_context;
  }
  /// The rotation of a sequence of `length` tokens.
  Rope& at(std::int64_t length) {
    if (length <= spec_.original_context || spec_.original_context == 0)
      return rope_;
    if (spec_.dynamic_factor > 0 && length != dynamic_length_) {
      const double factor = double(spec_.dynamic_factor), dims = double(spec_.dims);
      const double grown =
          factor * double(length) / double(spec_.original_context) - (factor - 1.0);
      long_rope_ = make(double(spec_.theta) * std::pow(grown, dims / (dims - 2)), spec_.factors);
      dynamic_length_ = length;
    }
    return long_rope_;
  }

 private:
  Rope make(double theta, const std::vector<float>& factors) const {
    if (!back_)
      return Rope(spec_.dims, theta, factors, spec_.attention_factor);
    std::vector<float> negative(std::size_t(spec_.dims / 2), -1.0f);
    for (std::size_t i = 0; i < factors.size(); ++i)
      negative[i] = -factors[i];
    return Rope(spec_.dims, theta, negative, spec_.attention_factor);
  }

  const RopeSpec& spec_;
  bool back_;
  Rope rope_, long_rope_; ///< up to and beyond the original context
  std::int64_t dynamic_length_ = 0;
};

} // namespace bitlathe
