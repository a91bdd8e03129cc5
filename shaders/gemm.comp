// SPDX-License-Identifier: Apache-2.0
// Y = X W^T for several tokens: tiles of 64 tokens x 64 rows, panels of 32 columns decoded into
// shared memory, 4 x 4 results per thread.
//   bindings   0 uint codes[]   1 uint scales[]   2 uint zeros[]   3 vec4 x[tokens][units][2], rows
//              zero padded   4 float y[tokens][out_rows]
//   push       tokens, first_row, out_rows (rows of W in this launch), units = ceil(cols / 8), cols,
//              row_words, group, groups, of_row (packed.glsl)
//   constants  0 LAYOUT   1 FTYPE   2 BITS   3 ZEROS (packed.glsl)
// CPU twin: `cpu_matmul` in kernels/compute/cpu_matmul.cpp (f32 sums in another order, multiply-add may fuse).
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint LAYOUT = 0;
layout(constant_id = 1) const uint FTYPE = 0;
layout(constant_id = 2) const uint BITS = 4;
layout(constant_id = 3) const uint ZEROS = 0;
layout(set = 0, binding = 0) readonly buffer Codes { uint codes[]; };
layout(set = 0, binding = 1) readonly buffer Scales { uint scales[]; };
layout(set = 0, binding = 2) readonly buffer Zeros { uint zeros[]; };
layout(set = 0, binding = 3) readonly buffer X { vec4 x[]; };
layout(set = 0, binding = 4) writeonly buffer Y { float y[]; };
layout(push_constant) uniform Push {
  uint tokens, first_row, out_rows, units, cols, row_words, group, groups, of_row;
};
#include "packed.glsl"

shared vec4 panel_x[32][16]; ///< [column][token / 4]
shared vec4 panel_w[32][16]; ///< [column][row / 4]

void main() {
  const uint wg = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
  const uint token_tiles = (tokens + 63u) / 64u;
  const uint token0 = (wg % token_tiles) * 64u, row0 = (wg / token_tiles) * 64u;
  const uint me = gl_LocalInvocationID.x, mine_t = me % 16u, mine_r = me / 16u;
  const uint load_line = me % 64u, load_unit = me / 64u;
  vec4 sum[4] = vec4[4](vec4(0), vec4(0), vec4(0), vec4(0)); // [row][token]
  for (uint unit0 = 0u; unit0 < units; unit0 += 4u) {
    const uint unit = unit0 + load_unit, token = token0 + load_line, row = row0 + load_line;
    vec4 a = vec4(0), b = vec4(0);
    if (unit < units && token < tokens) {
      a = x[(token * units + unit) * 2u];
      b = x[(token * units + unit) * 2u + 1u];
    }
    float w[8] = float[8](0, 0, 0, 0, 0, 0, 0, 0);
    if (unit < units && row < out_rows)
      decode8(first_row + row, unit, w);
    barrier();
    for (uint j = 0u; j < 4u; ++j) {
      panel_x[load_unit * 8u + j][load_line / 4u][load_line % 4u] = a[j];
      panel_x[load_unit * 8u + 4u + j][load_line / 4u][load_line % 4u] = b[j];
    }
    for (uint j = 0u; j < 8u; ++j)
      panel_w[load_unit * 8u + j][load_line / 4u][load_line % 4u] = w[j];
    barrier();
    for (uint k = 0u; k < 32u; ++k) {
      const vec4 xt = panel_x[k][mine_t], wr = panel_w[k][mine_r];
      for (int r = 0; r < 4; ++r)
        sum[r] += xt * wr[r];
    }
  }
  for (uint t = 0u; t < 4u; ++t)
    for (uint r = 0u; r < 4u; ++r) {
      const uint token = token0 + mine_t * 4u + t, row = row0 + mine_r * 4u + r;
      if (token < tokens && row < out_rows)
        y[token * out_rows + row] = sum[r][t];
    }
}
