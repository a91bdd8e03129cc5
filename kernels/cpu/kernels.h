// SPDX-License-Identifier: Apache-2.0
// The table of CPU kernels, one instance per instruction set. Plain pointers and integers only:
// this header is included by sources that are compiled with instruction-set flags, and any inline
// function of the standard library instantiated there could end up in the whole program.
//
// Unless said otherwise results are the same, bit for bit, on every instruction set: sums run over
// 16 interleaved f64 lanes (element i goes to lane i mod 16), which are then added pairwise
// (l + 8, l + 4, l + 2, l + 1), and nothing is fused.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bitlathe::cpu {

constexpr int lanes = 16;
/// Numbers of FloatType (kernels/matrix.h), which is not included here.
enum : int { type_f32 = 0, type_f16 = 1, type_bf16 = 2 };

/// Power sums of finite values; `sum[p][l]` is lane l of the sum of x^(p+1).
struct MomentState {
  double sum[4][lanes];
  float min[lanes], max[lanes];
  std::uint64_t nan, inf, zeros;
};

struct ErrorState {
  double error[lanes], ref[lanes], quant[lanes], product[lanes];
  float max_abs[lanes];
};

struct Kernels {
  const char* isa;

  // Numbers. Sources and outputs may have any alignment.
  void (*to_f32)(int type, const void* in, std::int64_t n, float* out);
  void (*from_f32)(int type, const float* in, std::int64_t n, void* out);

  // Statistics. `n` is a multiple of 16 except in the last call for a state.
  void (*moments)(const float* x, std::int64_t n, MomentState* state);
  void (*errors)(const float* w, const float* v, std::int64_t n, ErrorState* state);
  /// counts[i] += 1 for finite x in [lo, hi], i = min(trunc((x - lo) * inv), bins - 1).
  void (*histogram)(const float* x, std::int64_t n, float lo, float hi, float inv,
                    std::int32_t bins, std::uint64_t* counts);
  /// Smallest and largest of n > 0 values, both NaN when one is NaN; never -0.
  void (*range)(const float* x, std::int64_t n, float* lo, float* hi);

  // Integer grids: u = clamp(rne(clamp(x * inverse, -512, 512)) + zero, 0, 2^bits - 1), NaN -> 0.
  void (*encode)(const float* x, std::int64_t n, float inverse, int zero, int bits,
                 std::uint8_t* out);
  /// Codes to the dense little-endian bitstream, whole 32-bit words; the tail bits are 0.
  void (*pack)(const std::uint8_t* codes, std::int64_t n, int bits, std::uint8_t* out);
  /// The reverse, elements [first, first + n) of a row whose bitstream is `row_bytes` long.
  void (*unpack)(const std::uint8_t* row, std::int64_t row_bytes, int bits, std::int64_t first,
                 std::int64_t n, std::uint8_t* out);
  /// out = scale * float(u - zero)
  void (*dequantize)(const std::uint8_t* codes, std::int64_t n, float scale, int zero, float* out);
  /// For each of `k` grids the sum in column order of weight * (x - decode(encode(x)))^2: the
  /// difference in f32, everything after it in f64. Arrays hold k entries padded to 16; `weight`
  /// may be null.
  void (*grid_errors)(const float* x, const float* weight, std::int64_t n, const float* scale,
                      const float* inverse, const std::int32_t* zero, int bits, std::int64_t k,
                      double* out);

  // GGUF blocks of 32.
  void (*decode_q8_0)(const std::uint8_t* blocks, std::int64_t n_blocks, float* out);
  void (*decode_q4_0)(const std::uint8_t* blocks, std::int64_t n_blocks, float* out);
  void (*decode_q4_1)(const std::uint8_t* blocks, std::int64_t n_blocks, float* out);
  void (*encode_q8_0)(const float* x, std::int64_t n_blocks, std::uint8_t* out);
  void (*encode_q4_0)(const float* x, std::int64_t n_blocks, std::uint8_t* out);
  void (*encode_q4_1)(const float* x, std::int64_t n_blocks, std::uint8_t* out);

  // Products: f32 sums whose order may differ between instruction sets, but not between thread
  // counts.
  /// out[r] = sum of x[i] * w[r * stride + i]
  void (*dot_rows)(const float* x, const float* w, std::int64_t n, std::int64_t rows,
                   std::int64_t stride, float* out);
  /// Exact sum of a[i] * b[i].
  std::int32_t (*dot_u8s8)(const std::uint8_t* a, const std::int8_t* b, std::int64_t n);
};

} // namespace bitlathe::cpu
