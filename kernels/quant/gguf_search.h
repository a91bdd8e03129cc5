// SPDX-License-Identifier: Apache-2.0
// Scale searches of GGUF's encoders with an importance matrix. The order of every operation is part
// of the format's definition of "the same bytes": nothing here may be fused or reordered.
#pragma once

#include <cstdint>

namespace bitlathe {

/// Symmetric codes -nmax .. nmax - 1 of n values: the scale that minimises the weighted squared
/// error among a few starts. `codes` get q + nmax. Returns the scale (0: all codes 0).
float search_symmetric(int n, int nmax, const float* x, const float* weight, std::uint8_t* codes);

/// Codes 0 .. nmax with a scale and a minimum (never above 0): x = scale * code + minimum.
/// Tries `steps` + 1 inverse scales (first + step * k + nmax) / (max - min).
float search_affine(int n, int nmax, const float* x, const float* weight, float first, float step,
                    int steps, std::uint8_t* codes, float* minimum);

/// One row of q4_0 or q4_1 blocks weighted by `importance` (one entry per column).
void encode_q4_0_weighted(const float* x, const float* importance, std::int64_t n,
                          std::uint8_t* out);
void encode_q4_1_weighted(const float* x, const float* importance, std::int64_t n,
                          std::uint8_t* out);

} // namespace bitlathe
