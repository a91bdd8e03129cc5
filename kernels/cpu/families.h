// SPDX-License-Identifier: Apache-2.0
// Declares the kernels of one instruction set, in a namespace of its own (BITLATHE_ISA, set by
// CMake for each compilation), so that table.cpp can list them.
#pragma once

#include "kernels/cpu/encoders.h"
#include "kernels/cpu/kernels.h"

namespace bitlathe::cpu::BITLATHE_ISA {

void to_f32(int type, const void* in, std::int64_t n, float* out);
void from_f32(int type, const float* in, std::int64_t n, void* out);

void moments(const float* x, std::int64_t n, MomentState* state);
void errors(const float* w, const float* v, std::int64_t n, ErrorState* state);
void histogram(const float* x, std::int64_t n, float lo, float hi, float inv, std::int32_t bins,
               std::uint32_t* counts);
void range(const float* x, std::int64_t n, float* lo, float* hi);

void encode(const float* x, std::int64_t n, float inverse, int zero, int bits, std::uint8_t* out);
void pack(const std::uint8_t* codes, std::int64_t n, int bits, std::uint8_t* out);
void unpack(const std::uint8_t* row, std::int64_t row_bytes, int bits, std::int64_t first,
            std::int64_t n, std::uint8_t* out);
void dequantize(const std::uint8_t* codes, std::int64_t n, float scale, int zero, float* out);
void lookup(const std::uint8_t* codes, std::int64_t n, const float* table, int entries, float scale,
            float* out);
void count_above(const float* x, std::int64_t n, const float* thresholds, int count,
                 std::uint8_t* codes);
void decode_f8(bool e5m2, const std::uint8_t* codes, std::int64_t n, float scale, float* out);
float gemv_table4(const std::uint8_t* codes, const float* x, std::int64_t n, std::int64_t group,
                  const float* table, const float* scales);
void grid_errors(const float* x, const float* weight, std::int64_t n, const float* scale,
                 const float* inverse, const std::int32_t* zero, int bits, std::int64_t k,
                 double* out);

#define BITLATHE_BLOCK_TYPE(name)                                                                  \
  void decode_##name(const std::uint8_t* blocks, std::int64_t n_blocks, float* out);               \
  float dot_##name(const std::uint8_t* blocks, const float* x, const float* sums,                  \
                   std::int64_t n_blocks)
BITLATHE_BLOCK_TYPE(q4_1);
BITLATHE_BLOCK_TYPE(q5_0);
BITLATHE_BLOCK_TYPE(q5_1);
BITLATHE_BLOCK_TYPE(iq4_nl);
BITLATHE_BLOCK_TYPE(mxfp4);
BITLATHE_BLOCK_TYPE(nvfp4);
BITLATHE_BLOCK_TYPE(q2_k);
BITLATHE_BLOCK_TYPE(q3_k);
BITLATHE_BLOCK_TYPE(q4_k);
BITLATHE_BLOCK_TYPE(q5_k);
BITLATHE_BLOCK_TYPE(q6_k);
BITLATHE_BLOCK_TYPE(iq4_xs);
BITLATHE_BLOCK_TYPE(tq2_0);
#undef BITLATHE_BLOCK_TYPE
void decode_q8_0(const std::uint8_t* blocks, std::int64_t n_blocks, float* out);
void decode_q4_0(const std::uint8_t* blocks, std::int64_t n_blocks, float* out);
void encode_q8_0(const float* x, std::int64_t n_blocks, std::uint8_t* out);
void encode_q4_0(const float* x, std::int64_t n_blocks, std::uint8_t* out);
void encode_q4_1(const float* x, std::int64_t n_blocks, std::uint8_t* out);

void dot_rows(const float* x, const float* w, std::int64_t n, std::int64_t rows,
              std::int64_t stride, float* out);
void weighted_sum(const float* weight, const float* v, std::int64_t n, std::int64_t dim,
                  float* acc);
float gemv_float(int type, const void* w, const float* x, std::int64_t n);
float gemv_int4(const std::uint8_t* codes, const float* x, const float* sums, std::int64_t n,
                std::int64_t group, const float* scales, const std::uint8_t* zeros);
float gemv_int8(const std::uint8_t* codes, const float* x, std::int64_t n, std::int64_t group,
                const float* scales, const std::uint8_t* zeros);
float gemv_q8_0(const std::uint8_t* blocks, const float* x, std::int64_t n);
float gemv_q4_0(const std::uint8_t* blocks, const float* x, const float* sums, std::int64_t n);

// Sums of a tile stay in registers: 24 of 32 with AVX-512, 12 of 16 with AVX2.
#if defined(__AVX512F__)
constexpr int tile_tokens = 32, tile_rows = 12;
#else
constexpr int tile_tokens = 16, tile_rows = 6;
#endif
#if defined(__AVX512VNNI__)
constexpr int int8_unit = 1;
#else
constexpr int int8_unit = 2;
#endif
void gemm_tile(const float* panel, const float* w, std::int64_t stride, std::int64_t k,
               std::int64_t rows, std::int64_t wanted_tokens, float* c);
void widen_u8(const std::uint8_t* codes, std::int64_t n, void* out);
void gemm_int8_tile(const void* panel, const void* w, std::int64_t stride, std::int64_t k,
                    std::int64_t rows, std::int64_t wanted_tokens, const float* scale,
                    const std::int32_t* zero, const std::int32_t* sums, float* c);
std::int32_t dot_u8s8(const std::uint8_t* a, const std::int8_t* b, std::int64_t n);
float quantize_token(const float* x, std::int64_t n, std::int8_t* out);

void activate(int kind, const float* x, const float* up, std::int64_t n, float* out);
float exp_sum(float* x, std::int64_t n, float scale, float shift);
float largest(const float* x, std::int64_t n);

void subtract_product(double* w, std::int64_t w_stride, const double* e, std::int64_t e_stride,
                      const double* u, std::int64_t u_stride, std::int64_t rows, std::int64_t k,
                      std::int64_t n);

} // namespace bitlathe::cpu::BITLATHE_ISA
