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

/// Copies of every counter in a histogram: repeated values do not wait for each other's stores.
constexpr int histogram_copies = 4;

/// Functions of one value: for the exactness of each see kernels/nn/nn.h.
enum : int { act_silu, act_gelu, act_gelu_tanh, act_gelu_quick, act_relu };

/// A GGUF block type; null where an instruction set has nothing better than the layout's reference.
struct BlockKernels {
  /// Bit for bit what the reference decodes.
  void (*decode)(const std::uint8_t* blocks, std::int64_t n_blocks, float* out);
  /// Product of a packed row with x, decoded in registers; f32 sums. `sums` are those of x over
  /// every 16 columns, for types with a minimum per group.
  float (*dot)(const std::uint8_t* blocks, const float* x, const float* sums,
               std::int64_t n_blocks);
  /// Blocks from floats by the reference's rules, to the same bytes. `importance` is null or has an
  /// entry per column; then `x` must be a whole row, because weights depend on its mean square.
  void (*encode)(const float* x, const float* importance, std::int64_t n_blocks, std::uint8_t* out);
};

struct Kernels {
  const char* isa;

  // Numbers. Sources and outputs may have any alignment.
  void (*to_f32)(int type, const void* in, std::int64_t n, float* out);
  void (*from_f32)(int type, const float* in, std::int64_t n, void* out);

  // Statistics. `n` is a multiple of 16 except in the last call for a state.
  void (*moments)(const float* x, std::int64_t n, MomentState* state);
  void (*errors)(const float* w, const float* v, std::int64_t n, ErrorState* state);
  /// counts[i] += 1 for x in [lo, hi], i = min(trunc((x - lo) * inv), bins - 1); all others go to
  /// i = bins. `counts` holds histogram_copies times bins + 1 counters, to be added up.
  void (*histogram)(const float* x, std::int64_t n, float lo, float hi, float inv,
                    std::int32_t bins, std::uint32_t* counts);
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
  /// out = table[code] * scale, for tables of 2 to 256 entries; codes are below `entries`.
  void (*lookup)(const std::uint8_t* codes, std::int64_t n, const float* table, int entries,
                 float scale, float* out);
  /// codes[i] = number of thresholds that x[i] is above; NaN gives 0.
  void (*count_above)(const float* x, std::int64_t n, const float* thresholds, int count,
                      std::uint8_t* codes);
  /// out = value * scale of floats of eight bits: E5M2 or E4M3 (kernels/num/float8.h).
  void (*decode_f8)(bool e5m2, const std::uint8_t* codes, std::int64_t n, float scale, float* out);
  /// For each of `k` grids (a multiple of 16) the sum in column order of
  /// weight * (x - decode(encode(x)))^2: the difference in f32, everything after it in f64.
  /// `weight` may be null.
  void (*grid_errors)(const float* x, const float* weight, std::int64_t n, const float* scale,
                      const float* inverse, const std::int32_t* zero, int bits, std::int64_t k,
                      double* out);

  // GGUF blocks.
  BlockKernels q8_0, q4_0, q4_1, q5_0, q5_1, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_nl, iq4_xs, mxfp4,
      nvfp4, tq1_0, tq2_0;
  /// Without importance.
  void (*encode_q8_0)(const float* x, std::int64_t n_blocks, std::uint8_t* out);
  void (*encode_q4_0)(const float* x, std::int64_t n_blocks, std::uint8_t* out);
  void (*encode_q4_1)(const float* x, std::int64_t n_blocks, std::uint8_t* out);

  // Products with f32 sums, whose order (and fusing) may differ between instruction sets, but not
  // between thread counts.
  /// out[r] = sum of x[i] * w[r * stride + i]
  void (*dot_rows)(const float* x, const float* w, std::int64_t n, std::int64_t rows,
                   std::int64_t stride, float* out);
  /// acc[j] += sum over i of weight[i] * v[i * dim + j]
  void (*weighted_sum)(const float* weight, const float* v, std::int64_t n, std::int64_t dim,
                       float* acc);
  /// One packed row times x, decoded in registers. Groups are a multiple of 32 columns or the whole
  /// row; `zeros` is null when all are 2^(bits-1).
  float (*gemv_float)(int type, const void* w, const float* x, std::int64_t n);
  float (*gemv_int8)(const std::uint8_t* codes, const float* x, std::int64_t n, std::int64_t group,
                     const float* scales, const std::uint8_t* zeros);
  /// Codes of four bits that name entries of a table; one scale per group.
  float (*gemv_table4)(const std::uint8_t* codes, const float* x, std::int64_t n,
                       std::int64_t group, const float* table, const float* scales);
  float (*gemv_q8_0)(const std::uint8_t* blocks, const float* x, std::int64_t n);
  /// x as nibbles come out of bytes: for every 32 columns those of the 16 low nibbles, then those
  /// of the high ones divided by 16 (exact: they meet codes that are 16 times too large); padded
  /// with zeros. `sums` has 16 lanes per group (q4_0: per block): column sums of x over its 32s,
  /// low + high. The drivers in compute/cpu_matmul.cpp make both.
  float (*gemv_int4)(const std::uint8_t* codes, const float* x, const float* sums, std::int64_t n,
                     std::int64_t group, const float* scales, const std::uint8_t* zeros);
  float (*gemv_q4_0)(const std::uint8_t* blocks, const float* x, const float* sums, std::int64_t n);

  // Blocked products. A panel holds `tile_tokens` tokens, interleaved: panel[k][token].
  int tile_tokens, tile_rows;
  /// c[r][token] += sum over k of w[r * stride + k] * panel[k][token], rows <= tile_rows. Tokens
  /// from `wanted_tokens` on may be left alone.
  void (*gemm_tile)(const float* panel, const float* w, std::int64_t stride, std::int64_t k,
                    std::int64_t rows, std::int64_t wanted_tokens, float* c);

  // Integer products. Codes take `int8_unit` bytes each, both in a panel ([k / step][token][step],
  // step = 4 / int8_unit) and in rows of weights.
  int int8_unit;
  void (*widen_u8)(const std::uint8_t* codes, std::int64_t n, void* out); ///< n multiple of 16
  /// One group: c[r][token] += scale[r] * float(sum of u * q - zero[r] * sums[token]); the sum is
  /// exact. k is a multiple of 4, `stride` counts codes.
  void (*gemm_int8_tile)(const void* panel, const void* w, std::int64_t stride, std::int64_t k,
                         std::int64_t rows, std::int64_t wanted_tokens, const float* scale,
                         const std::int32_t* zero, const std::int32_t* sums, float* c);
  /// Exact sum of a[i] * b[i].
  std::int32_t (*dot_u8s8)(const std::uint8_t* a, const std::int8_t* b, std::int64_t n);
  /// Symmetric int8 codes of one token: s = absmax / 127 (1 for zeros), q = clamp(rne(x * (1 / s)),
  /// -127, 127). Returns s, or NaN when there is one in x. The same on every instruction set.
  float (*quantize_token)(const float* x, std::int64_t n, std::int8_t* out);

  // Functions of values.
  /// out[i] = f(x[i]), times up[i] unless `up` is null.
  void (*activate)(int kind, const float* x, const float* up, std::int64_t n, float* out);
  /// x[i] = exp(x[i] * scale - shift); returns their sum.
  float (*exp_sum)(float* x, std::int64_t n, float scale, float shift);
  /// The largest of n > 0 values.
  float (*largest)(const float* x, std::int64_t n);

  // Factorizations.
  /// w[rows][n] -= e[rows][k] u[k][n], given the distances between rows; for every element in the
  /// order of k, nothing fused.
  void (*subtract_product)(double* w, std::int64_t w_stride, const double* e, std::int64_t e_stride,
                           const double* u, std::int64_t u_stride, std::int64_t rows,
                           std::int64_t k, std::int64_t n);
};

} // namespace bitlathe::cpu
