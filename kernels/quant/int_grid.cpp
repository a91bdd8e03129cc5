// SPDX-License-Identifier: Apache-2.0
#include "kernels/quant/int_grid.h"

#include "kernels/num/float16.h"
#include "kernels/quant/stored_scale.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace bitlathe {

namespace {

/// Round to nearest, ties to even, for |x| < 2^22, without relying on the current rounding mode's
/// function.
float rne(float x) {
  const float magic = 12582912.0f; // 1.5 * 2^23
  return (x + magic) - magic;
}

} // namespace

float stored_scale(float scale, FloatType type, bool* clamped) {
  float rounded = scale, smallest = std::numeric_limits<float>::min(),
        largest = std::numeric_limits<float>::max();
  switch (type) {
  case FloatType::f32:
    break;
  case FloatType::f16:
    rounded = f16_to_f32(f32_to_f16(scale));
    smallest = 6.103515625e-05f;
    largest = 65504.0f;
    break;
  case FloatType::bf16:
    rounded = bf16_to_f32(f32_to_bf16(scale));
    largest = bf16_to_f32(0x7f7f);
    break;
  }
  const bool too_small = rounded == 0.0f, too_large = std::isinf(rounded);
  if (clamped && (too_small || too_large))
    *clamped = true;
  return too_small ? smallest : too_large ? largest : rounded;
}

IntGrid make_int_grid(float lo, float hi, int bits, bool symmetric, FloatType scale_type,
                      bool* clamped) {
  IntGrid grid;
  const float top = float((1 << bits) - 1);
  if (symmetric) {
    grid.zero = 1 << (bits - 1);
    const float absmax = std::max(std::fabs(lo), std::fabs(hi));
    if (absmax == 0.0f)
      return grid;
    grid.scale = stored_scale(absmax / float((1 << (bits - 1)) - 1), scale_type, clamped);
    grid.inverse = 1.0f / grid.scale;
    return grid;
  }
  lo = std::min(0.0f, lo);
  hi = std::max(0.0f, hi);
  if (lo == hi)
    return grid;
  // Halving first keeps the range finite when lo and hi lie near opposite ends of f32.
  const float range = hi - lo;
  grid.scale =
      stored_scale(std::isinf(range) ? (hi / top - lo / top) : range / top, scale_type, clamped);
  grid.inverse = 1.0f / grid.scale;
  grid.zero = std::int32_t(std::clamp(rne(-lo * grid.inverse), 0.0f, top));
  return grid;
}

std::uint8_t encode_int(float w, const IntGrid& grid, int bits) {
  const float top = float((1 << bits) - 1);
  // Clamp before rounding: a value far outside must not leave the range where rne() is exact.
  // A NaN fails the first comparison and ends up as code 0.
  float scaled = w * grid.inverse;
  scaled = scaled > -512.0f ? std::min(scaled, 512.0f) : -512.0f;
  return std::uint8_t(std::clamp(rne(scaled) + float(grid.zero), 0.0f, top));
}

} // namespace bitlathe
