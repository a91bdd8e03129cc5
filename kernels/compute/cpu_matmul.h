// SPDX-License-Identifier: Apache-2.0
// y = x W^T on the CPU, for every layout.
#pragma once

#include "kernels/cpu/kernels.h"
#include "kernels/matrix.h"

#include <cstdint>

namespace bitlathe {

/// x is [m][w.cols], y is [m][w.rows]. One token reads packed rows once and decodes them in
/// registers; a few tokens share one decoded row; more go through blocked tiles.
void cpu_matmul(const cpu::Kernels& kernels, const MatrixView& w, const float* x, std::int64_t m,
                float* y);

/// Layout "int" with x quantized per token to int8: sums of products are exact within a group, and
/// y is the same on every instruction set, for any m. With a static `scale`, not 0, x is coded on
/// that instead.
void cpu_matmul_int8(const cpu::Kernels& kernels, const MatrixView& w, const float* x,
                     std::int64_t m, float* y, float scale = 0);

/// clamp(rne(x * f32(1 / scale)), -128, 127); NaN gives 0.
void encode_int8(const float* x, std::int64_t n, float scale, std::int8_t* out);

} // namespace bitlathe
