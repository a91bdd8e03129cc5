// SPDX-License-Identifier: Apache-2.0
// Integer quantization of one group, exactly as the project defines it, so that anyone can
// recompute every code:
//   asymmetric: lo = min(0, min), hi = max(0, max), s = (hi - lo) / (2^b - 1),
//               z = clamp(rne(-lo * r), 0, 2^b - 1)
//   symmetric:  s = absmax / (2^(b-1) - 1), codes -2^(b-1) .. 2^(b-1) - 1, stored as u = q +
//   2^(b-1) s is rounded to its stored type before coding, r = f32(1 / s), q = clamp(rne(w * r) +
//   z); all in f32 without fused multiply-add.
// A group of zeros has s = 1 and zero codes. Scales and zero points are computed on the CPU on
// every backend, so that codes are identical everywhere.
#pragma once

#include "kernels/matrix.h"

#include <cstdint>

namespace bitlathe {

struct IntGrid {
  float scale = 1.0f;    ///< already rounded to its stored type
  float inverse = 1.0f;  ///< f32(1 / scale)
  std::int32_t zero = 0; ///< unsigned code of 0.0: the zero point, or 2^(bits-1) when symmetric
};

/// The grid for values in [lo, hi] (exact extremes, or clipped ones). `scale_type` is how the scale
/// will be stored. NaN or infinite extremes are the caller's error (checked before).
/// If the rounded scale would be 0 or infinite in `scale_type`, it is the smallest normal or the
/// largest finite value instead, and `clamped` (if given) is set.
IntGrid make_int_grid(float lo, float hi, int bits, bool symmetric, FloatType scale_type,
                      bool* clamped = nullptr);

/// u in 0 .. 2^bits - 1. NaN gives 0: look for NaN before coding.
std::uint8_t encode_int(float w, const IntGrid& grid, int bits);
inline float decode_int(std::uint8_t u, const IntGrid& grid) {
  return grid.scale * float(std::int32_t(u) - grid.zero);
}

} // namespace bitlathe
