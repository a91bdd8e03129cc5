// SPDX-License-Identifier: Apache-2.0
// Counts, extremes and power sums of pieces of rows; the host adds the pieces up in f64.
//   bindings   0 uvec4 values[rows][row_units]   1 uvec4 partials[rows * pieces][4]
//   push       items = rows * pieces, pieces, cols, row_units, piece_units
//   constants  0 TYPE (0 f32, 1 f16, 2 bf16)   1 LANES threads per piece (power of 2, <= 256)
// A partial is: min key, max key, nan | inf << 16, zeros, then four sums as pairs of floats. A piece
// has fewer than 65,536 values. Powers are f32, so the host redoes rows whose fourth powers leave
// its range. CPU twin: `moments` in kernels/cpu/scalar.cpp.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint TYPE = 0;
layout(constant_id = 1) const uint LANES = 256;
layout(set = 0, binding = 0) readonly buffer Values { uvec4 values[]; };
layout(set = 0, binding = 1) writeonly buffer Partials { uvec4 partials[]; };
layout(push_constant) uniform Push { uint items, pieces, cols, row_units, piece_units; };
#include "floats.glsl"

shared vec2 sums[4][256];
shared uvec2 ends[256];
shared uvec2 counts[256];

void main() {
  const uint group = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
  const uint me = gl_LocalInvocationID.x, lane = me % LANES;
  const uint item = group * (256u / LANES) + me / LANES;
  vec2 s[4] = vec2[4](vec2(0), vec2(0), vec2(0), vec2(0));
  uvec2 end = uvec2(KEY_LAST, KEY_FIRST), count = uvec2(0);
  if (item < items) {
    const uint row = item / pieces, piece = item % pieces;
    const uint last = min((piece + 1u) * piece_units, row_units);
    for (uint unit = piece * piece_units + lane; unit < last; unit += LANES) {
      float v[8];
      load8(row * row_units + unit, v);
      for (uint j = 0u; j < 8u; ++j) {
        if (unit * 8u + j >= cols)
          break;
        const uint bits = floatBitsToUint(v[j]);
        if (is_nan(bits)) {
          count.x += 1u;
        } else if (is_inf(bits)) {
          count.x += 1u << 16;
        } else {
          count.y += uint((bits & 0x7fffffffu) == 0u);
          const uint key = ordered_key(bits);
          end = uvec2(min(end.x, key), max(end.y, key));
          precise float x2 = v[j] * v[j], x3 = x2 * v[j], x4 = x2 * x2;
          add_to(s[0], v[j]);
          add_to(s[1], x2);
          add_to(s[2], x3);
          add_to(s[3], x4);
        }
      }
    }
  }
  for (int p = 0; p < 4; ++p)
    sums[p][me] = s[p];
  ends[me] = end;
  counts[me] = count;
  for (uint half_way = LANES / 2u; half_way > 0u; half_way /= 2u) {
    barrier();
    if (lane < half_way) {
      for (int p = 0; p < 4; ++p) {
        vec2 both = sums[p][me];
        add_pair(both, sums[p][me + half_way]);
        sums[p][me] = both;
      }
      ends[me] = uvec2(min(ends[me].x, ends[me + half_way].x), max(ends[me].y, ends[me + half_way].y));
      counts[me] += counts[me + half_way];
    }
  }
  if (lane == 0u && item < items) {
    partials[item * 4u] = uvec4(ends[me], counts[me]);
    partials[item * 4u + 1u] = uvec4(floatBitsToUint(sums[0][me]), floatBitsToUint(sums[1][me]));
    partials[item * 4u + 2u] = uvec4(floatBitsToUint(sums[2][me]), floatBitsToUint(sums[3][me]));
    partials[item * 4u + 3u] = uvec4(0);
  }
}
