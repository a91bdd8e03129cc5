// SPDX-License-Identifier: Apache-2.0
// Smallest and largest value of every group of columns; both NaN when one is NaN; never -0.
//   bindings   0 uvec4 values[rows][row_units]   1 uvec2 ranges[rows][groups] (bits of lo, hi)
//   push       items = rows * groups, groups, group, cols, row_units
//   constants  0 TYPE   1 LANES threads per group (power of 2, <= 256)
// CPU twin: `range` in kernels/cpu/scalar.cpp.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint TYPE = 0;
layout(constant_id = 1) const uint LANES = 16;
layout(set = 0, binding = 0) readonly buffer Values { uvec4 values[]; };
layout(set = 0, binding = 1) writeonly buffer Ranges { uvec2 ranges[]; };
layout(push_constant) uniform Push { uint items, groups, group, cols, row_units; };
#include "floats.glsl"

shared uvec2 ends[256];

// NaN has keys of its own: below every other as a minimum, above every other as a maximum.
void main() {
  const uint wg = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
  const uint me = gl_LocalInvocationID.x, lane = me % LANES;
  const uint item = wg * (256u / LANES) + me / LANES;
  uvec2 end = uvec2(KEY_LAST, KEY_FIRST);
  if (item < items) {
    const uint row = item / groups, first = (item % groups) * group;
    const uint last = min(first + group, cols);
    for (uint unit = first / 8u + lane; unit * 8u < last; unit += LANES) {
      float v[8];
      load8(row * row_units + unit, v);
      for (uint j = 0u; j < 8u; ++j) {
        const uint col = unit * 8u + j, bits = floatBitsToUint(v[j]);
        if (col < first || col >= last)
          continue;
        if (is_nan(bits))
          end = uvec2(KEY_FIRST, KEY_LAST);
        else
          end = uvec2(min(end.x, ordered_key(bits)), max(end.y, ordered_key(bits)));
      }
    }
  }
  ends[me] = end;
  for (uint half_way = LANES / 2u; half_way > 0u; half_way /= 2u) {
    barrier();
    if (lane < half_way)
      ends[me] = uvec2(min(ends[me].x, ends[me + half_way].x), max(ends[me].y, ends[me + half_way].y));
  }
  if (lane == 0u && item < items) {
    uvec2 bits = uvec2(key_bits(ends[me].x), key_bits(ends[me].y));
    if (ends[me] == uvec2(KEY_FIRST, KEY_LAST))
      bits = uvec2(0x7fc00000u);
    ranges[item] = uvec2(bits.x == 0x80000000u ? 0u : bits.x, bits.y == 0x80000000u ? 0u : bits.y);
  }
}
