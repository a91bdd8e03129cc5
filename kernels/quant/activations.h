// SPDX-License-Identifier: Apache-2.0
// Activations coded before a product: what their values become, and what happened on the way. Codes
// of int8 are made where they are multiplied (kernels/compute). Everything here gives the same
// numbers on every machine and at any thread count.
#pragma once

#include "kernels/matrix.h"

#include <cstdint>
#include <span>
#include <vector>

namespace bitlathe {

/// What happened to the inputs of one linear, added up over calls.
struct ActivationCounts {
  std::uint64_t calls = 0, tokens = 0;
  std::uint64_t nan = 0, inf = 0;    ///< values
  std::uint64_t broken_tokens = 0;   ///< with at least one of these
  std::uint64_t zero_tokens = 0;     ///< all values 0
  std::uint64_t static_values = 0;   ///< coded with a static scale, of these
  std::uint64_t clipped = 0;         ///< lay beyond its range
  std::uint64_t columns = 0;         ///< columns of all calls, for the share of
  std::uint64_t outlier_columns = 0; ///< those that stayed f16 (LLM.int8())
  std::uint64_t f16_overflow = 0;    ///< values of outlier columns set to the largest f16
  float absmax = 0;                  ///< of all finite values
};

/// One token's values.
struct TokenScan {
  float absmax = 0; ///< of the finite ones
  std::uint32_t nan = 0, inf = 0;
  bool finite() const { return nan + inf == 0; }
};
/// x is [tokens][cols]; out.size() tokens.
void scan_tokens(const float* x, std::int64_t cols, std::span<TokenScan> out);

/// Scale of symmetric codes whose largest is `largest` (127, 448): absmax / largest, 1 for zeros,
/// never below the smallest normal f32.
float activation_scale(float absmax, float largest);

/// out[i] = the E4M3 value of x[i] * f32(1 / scale), as kernels/num/float8.h codes it.
void code_e4m3(const float* x, std::int64_t n, float scale, float* out);
/// Values as they come back from E2M1 with a scale per block of 32, a power of two: 2^(floor(log2
/// absmax) - 2), exponents -127 .. 127 (OCP MX). n may end within a block. Finite values only.
void simulate_mxfp4(const float* x, std::int64_t n, float* out);
/// Values as they come back from E2M1 with an E4M3 scale per block of 16 on top of an f32 scale:
/// the given one, or (0) the token's own, absmax / (6 * 448). Finite values only.
void simulate_nvfp4(const float* x, std::int64_t n, float* out, float given_scale = 0);

/// Columns in which a value of x[m][cols] reaches the threshold, in order. NaN reaches nothing.
std::vector<std::int32_t> outlier_columns(const float* x, std::int64_t m, std::int64_t cols,
                                          float threshold);
/// y[m][rows] += x[:, columns] rounded to f16 times the decoded weight's columns, for a weight of
/// layout "int". Returns how many values lay beyond f16; they become its largest. Runs on the CPU.
std::uint64_t add_outlier_product(const MatrixView& w, std::span<const std::int32_t> columns,
                                  const float* x, std::int64_t m, float* y);

} // namespace bitlathe
