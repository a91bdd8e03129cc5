// SPDX-License-Identifier: Apache-2.0
// Y = X W^T with int8 activations and integer codes: exact products per group, then one f32 step per
// group in column order, so the result is that of the CPU.
//   bindings   0 uint codes[]   1 uint scales[]   2 uint zeros[]   3 uvec2 x[tokens][units] (eight
//              int8 codes, zero padded)   4 int x_sums[tokens][groups]   5 float x_scales[tokens]
//              6 float y[tokens][out_rows]
//   push       tokens, first_row, out_rows, units = ceil(cols / 8), cols, row_words, group, groups,
//              of_row (packed.glsl)
//   constants  0 FTYPE of the scales   1 BITS   2 ZEROS (packed.glsl; middle or byte)
//              3 TILE_TOKENS: tokens of a tile, 64, or 4 when there are few
// Tiles of TILE_TOKENS tokens x 64 rows, panels of 32 columns; groups are multiples of 8 columns or
// the whole row. CPU twin: `cpu_matmul_int8` in kernels/compute/cpu_matmul.cpp.
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint FTYPE = 0;
layout(constant_id = 1) const uint BITS = 4;
layout(constant_id = 2) const uint ZEROS = 0;
layout(constant_id = 3) const uint TILE_TOKENS = 64;
const uint LAYOUT = 1u;
layout(set = 0, binding = 0) readonly buffer Codes { uint codes[]; };
layout(set = 0, binding = 1) readonly buffer Scales { uint scales[]; };
layout(set = 0, binding = 2) readonly buffer Zeros { uint zeros[]; };
layout(set = 0, binding = 3) readonly buffer X { uvec2 x[]; };
layout(set = 0, binding = 4) readonly buffer XSums { int x_sums[]; };
layout(set = 0, binding = 5) readonly buffer XScales { float x_scales[]; };
layout(set = 0, binding = 6) writeonly buffer Y { float y[]; };
layout(push_constant) uniform Push {
  uint tokens, first_row, out_rows, units, cols, row_words, group, groups, of_row;
};
#include "packed.glsl"

shared uvec2 panel_x[4][64]; ///< [unit][token]
shared uvec2 panel_w[4][64]; ///< [unit][row], codes as signed bytes

// Eight codes as signed bytes: 8-bit ones less 128, smaller ones as they are.
uvec2 signed_bytes(uvec2 packed) {
  if (BITS == 8u)
    return packed ^ 0x80808080u;
  uvec2 out_bytes = uvec2(0);
  for (uint j = 0u; j < 8u; ++j)
    out_bytes[j / 4u] |= code_of(packed, j) << (8u * (j % 4u));
  return out_bytes;
}

void main() {
  const uint wg = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
  const uint token_tiles = (tokens + TILE_TOKENS - 1u) / TILE_TOKENS;
  const uint token0 = (wg % token_tiles) * TILE_TOKENS, row0 = (wg / token_tiles) * 64u;
  // A thread has one row and TILE_TOKENS / 4 tokens, every fourth.
  const uint me = gl_LocalInvocationID.x, mine_r = me % 64u, mine_t = me / 64u;
  const uint row = row0 + mine_r;
  int dots[16];
  float sums[16];
  for (uint t = 0u; t < 16u; ++t) {
    dots[t] = 0;
    sums[t] = 0.0;
  }
  for (uint unit0 = 0u; unit0 < units; unit0 += 4u) {
    const uint unit = unit0 + mine_t, token = token0 + mine_r;
    uvec2 from_x = uvec2(0), from_w = uvec2(0);
    if (unit < units && mine_r < TILE_TOKENS && token < tokens)
      from_x = x[token * units + unit];
    if (unit < units && row < out_rows)
      from_w = signed_bytes(codes8(first_row + row, unit));
    barrier();
    panel_x[mine_t][mine_r] = from_x;
    panel_w[mine_t][mine_r] = from_w;
    barrier();
    for (uint u = 0u; u < 4u; ++u) {
      const uint next = unit0 + u + 1u; // columns before 8 * next are in `dots` after this
      const uvec2 w = panel_w[u][mine_r];
      for (uint t = 0u; t < TILE_TOKENS / 4u; ++t) {
        const uvec2 a = panel_x[u][mine_t + t * 4u];
        dots[t] += dot4(a.x, w.x) + dot4(a.y, w.y);
      }
      const bool group_ends = next == units || (groups > 1u && (next * 8u) % group == 0u);
      if (group_ends && next <= units && row < out_rows) {
        const uint g = groups > 1u ? (next * 8u - 1u) / group : 0u;
        const uint at = (first_row + row) * of_row + (of_row == 0u ? 0u : g);
        const float scale = scale_at(at);
        const int zero = zero_at(at) - (BITS == 8u ? 128 : 0);
        for (uint t = 0u; t < TILE_TOKENS / 4u; ++t) {
          const uint of_token = min(token0 + mine_t + t * 4u, tokens - 1u);
          const int exact = dots[t] - zero * x_sums[of_token * groups + g];
          precise float part = scale * float(exact);
          precise float sum = sums[t] + part;
          sums[t] = sum;
          dots[t] = 0;
        }
      }
    }
  }
  if (row < out_rows)
    for (uint t = 0u; t < TILE_TOKENS / 4u; ++t) {
      const uint of_token = token0 + mine_t + t * 4u;
      if (of_token < tokens)
        y[of_token * out_rows + row] = sums[t] * x_scales[of_token];
    }
}
