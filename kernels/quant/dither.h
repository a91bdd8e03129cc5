// SPDX-License-Identifier: Apache-2.0
// Stochastic rounding: a value between two codes goes to the upper one with a probability that is
// its distance from the lower one, so that what is stored is right on average. The numbers come
// from a counter (seed, name, row, column), so that threads and order do not matter.
#pragma once

#include "kernels/base/feedback.h"
#include "kernels/compute/compute.h"

#include <cmath>
#include <string_view>

namespace bitlathe {

class Dither {
 public:
  Dither() = default; ///< off: to the nearest
  Dither(std::int64_t seed, std::string_view name) : on_(true), key_(mix(std::uint64_t(seed))) {
    for (const char c : name)
      key_ = mix(key_ ^ std::uint8_t(c));
  }
  bool on() const { return on_; }

  /// Uniform on [0, 1), a multiple of 2^-53.
  double operator()(std::int64_t row, std::int64_t col) const {
    const std::uint64_t bits = mix(mix(key_ ^ std::uint64_t(row)) + std::uint64_t(col));
    return double(bits >> 11) * 0x1p-53;
  }
  /// Whether `x` between two neighbours goes to the upper one.
  bool up(double lower, double x, double upper, std::int64_t row, std::int64_t col) const {
    return (*this)(row, col) * (upper - lower) < x - lower;
  }

 private:
  /// The finalizer of SplitMix64, a bijection.
  static std::uint64_t mix(std::uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }
  bool on_ = false;
  std::uint64_t key_ = 0;
};

/// As Compute::quantize_int, at random.
Result<void> quantize_int_dithered(const FloatView& w, const IntSpec& spec,
                                   std::span<const IntGrid> grids, const Dither& dither,
                                   std::span<std::byte> codes, const Feedback* feedback);

/// What encoders of rows share: calls row(r, values) for every row of a matrix.
Result<void> each_row_of(const FloatView& w, const Feedback* feedback,
                         const std::function<void(std::int64_t, const float*)>& row);

} // namespace bitlathe
