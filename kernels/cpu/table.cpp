// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/families.h"

#define BITLATHE_TEXT2(x) #x
#define BITLATHE_TEXT(x) BITLATHE_TEXT2(x)

namespace bitlathe::cpu::BITLATHE_ISA {

extern const Kernels kernels;
const Kernels kernels{
    .isa = BITLATHE_TEXT(BITLATHE_ISA),
    .to_f32 = to_f32,
    .from_f32 = from_f32,
    .moments = moments,
    .errors = errors,
    .histogram = histogram,
    .range = range,
    .encode = encode,
    .pack = pack,
    .unpack = unpack,
    .dequantize = dequantize,
    .lookup = lookup,
    .count_above = count_above,
    .decode_f8 = decode_f8,
    .grid_errors = grid_errors,
    .q8_0 = {decode_q8_0, nullptr, encode_q8_0}, // products: gemv_q8_0, gemv_q4_0
    .q4_0 = {decode_q4_0, nullptr, encode_q4_0},
    .q4_1 = {decode_q4_1, dot_q4_1, encode_q4_1},
    .q5_0 = {decode_q5_0, dot_q5_0, encode_q5_0},
    .q5_1 = {decode_q5_1, dot_q5_1, encode_q5_1},
    .q2_k = {decode_q2_k, dot_q2_k, encode_q2_k},
    .q3_k = {decode_q3_k, dot_q3_k, encode_q3_k},
    .q4_k = {decode_q4_k, dot_q4_k, encode_q4_k},
    .q5_k = {decode_q5_k, dot_q5_k, encode_q5_k},
    .q6_k = {decode_q6_k, dot_q6_k, encode_q6_k},
    .iq4_nl = {decode_iq4_nl, dot_iq4_nl, encode_iq4_nl},
    .iq4_xs = {decode_iq4_xs, dot_iq4_xs, encode_iq4_xs},
    .mxfp4 = {decode_mxfp4, dot_mxfp4, encode_mxfp4},
    .nvfp4 = {decode_nvfp4, dot_nvfp4, encode_nvfp4},
    .tq1_0 = {nullptr, nullptr, encode_tq1_0},
    .tq2_0 = {decode_tq2_0, dot_tq2_0, encode_tq2_0},
    .encode_q8_0 = encode_q8_0,
    .encode_q4_0 = encode_q4_0,
    .encode_q4_1 = encode_q4_1,
    .dot_rows = dot_rows,
    .weighted_sum = weighted_sum,
    .gemv_float = gemv_float,
    .gemv_int8 = gemv_int8,
    .gemv_table4 = gemv_table4,
    .gemv_q8_0 = gemv_q8_0,
    .gemv_int4 = gemv_int4,
    .gemv_q4_0 = gemv_q4_0,
    .tile_tokens = tile_tokens,
    .tile_rows = tile_rows,
    .gemm_tile = gemm_tile,
    .int8_unit = int8_unit,
    .widen_u8 = widen_u8,
    .gemm_int8_tile = gemm_int8_tile,
    .dot_u8s8 = dot_u8s8,
    .quantize_token = quantize_token,
    .activate = activate,
    .exp_sum = exp_sum,
    .largest = largest,
    .subtract_product = subtract_product,
};

} // namespace bitlathe::cpu::BITLATHE_ISA
