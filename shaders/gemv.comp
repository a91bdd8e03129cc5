// SPDX-License-Identifier: Apache-2.0
// y = W x for one token, W packed or float, decoded on the way; bound by reading W.
//   bindings   0 uint codes[]   1 uint scales[]   2 uint zeros[]   3 vec4 x[ceil(cols / 8)][2], zero
//              padded   4 float y[out_rows]
//   push       first_row, out_rows (rows of W in this launch), units = ceil(cols / 8), cols, row_words,
//              group, groups, of_row (packed.glsl)
//   constants  0 LAYOUT   1 FTYPE   2 BITS   3 ZEROS (packed.glsl)   4 LANES threads per four rows
// CPU twin: `cpu_matmul` in kernels/compute/cpu_matmul.cpp (f32 sums in another order).
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint LAYOUT = 0;
layout(constant_id = 1) const uint FTYPE = 0;
layout(constant_id = 2) const uint BITS = 4;
layout(constant_id = 3) const uint ZEROS = 0;
layout(constant_id = 4) const uint LANES = 64;
layout(set = 0, binding = 0) readonly buffer Codes { uint codes[]; };
layout(set = 0, binding = 1) readonly buffer Scales { uint scales[]; };
layout(set = 0, binding = 2) readonly buffer Zeros { uint zeros[]; };
layout(set = 0, binding = 3) readonly buffer X { vec4 x[]; };
layout(set = 0, binding = 4) writeonly buffer Y { float y[]; };
layout(push_constant) uniform Push {
  uint first_row, out_rows, units, cols, row_words, group, groups, of_row;
};
#include "packed.glsl"

shared vec4 sums[256];

void main() {
  const uint wg = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
  const uint me = gl_LocalInvocationID.x, lane = me % LANES;
  const uint row = (wg * (256u / LANES) + me / LANES) * 4u;
  vec4 sum = vec4(0);
  if (row < out_rows)
    for (uint unit = lane; unit < units; unit += LANES) {
      const vec4 a = x[unit * 2u], b = x[unit * 2u + 1u];
      for (uint r = 0u; r < 4u; ++r) {
        float v[8];
        decode8(first_row + min(row + r, out_rows - 1u), unit, v);
        sum[r] += dot(a, vec4(v[0], v[1], v[2], v[3])) + dot(b, vec4(v[4], v[5], v[6], v[7]));
      }
    }
  sums[me] = sum;
  for (uint half_way = LANES / 2u; half_way > 0u; half_way /= 2u) {
    barrier();
    if (lane < half_way)
      sums[me] += sums[me + half_way];
  }
  if (lane == 0u)
    for (uint r = 0u; r < 4u && row + r < out_rows; ++r)
      y[row + r] = sums[me][r];
}
