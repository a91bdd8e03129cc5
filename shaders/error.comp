// SPDX-License-Identifier: Apache-2.0
// Sums over a matrix and its packed copy: (w - v)^2, w^2, v^2, w v and the largest |w - v|, for
// pieces of rows; the host adds the pieces up in f64.
//   bindings   0 uvec4 values[rows][row_units]   1 uint codes[]   2 uint scales[]   3 uint zeros[]
//              4 uvec4 partials[rows * pieces][3]
//   push       items = rows * pieces, pieces, row_units, piece_units, cols, row_words, group, groups,
//              of_row (packed.glsl)
//   constants  0 TYPE of the values   1 LANES threads per piece   2 LAYOUT   3 FTYPE   4 BITS   5 ZEROS
// A partial is four sums as pairs of floats, then the bits of the largest error. Products are f32, so
// the host redoes rows that leave its range. CPU twin: `errors` in kernels/cpu/scalar.cpp.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint TYPE = 0;
layout(constant_id = 1) const uint LANES = 256;
layout(constant_id = 2) const uint LAYOUT = 0;
layout(constant_id = 3) const uint FTYPE = 0;
layout(constant_id = 4) const uint BITS = 4;
layout(constant_id = 5) const uint ZEROS = 0;
layout(set = 0, binding = 0) readonly buffer Values { uvec4 values[]; };
layout(set = 0, binding = 1) readonly buffer Codes { uint codes[]; };
layout(set = 0, binding = 2) readonly buffer Scales { uint scales[]; };
layout(set = 0, binding = 3) readonly buffer Zeros { uint zeros[]; };
layout(set = 0, binding = 4) writeonly buffer Partials { uvec4 partials[]; };
layout(push_constant) uniform Push {
  uint items, pieces, row_units, piece_units, cols, row_words, group, groups, of_row;
};
#include "floats.glsl"
#include "packed.glsl"

shared vec2 sums[4][256];
shared uint largest[256];

void main() {
  const uint wg = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
  const uint me = gl_LocalInvocationID.x, lane = me % LANES;
  const uint item = wg * (256u / LANES) + me / LANES;
  vec2 s[4] = vec2[4](vec2(0), vec2(0), vec2(0), vec2(0));
  uint worst = 0u;
  if (item < items) {
    const uint row = item / pieces, piece = item % pieces;
    const uint last = min((piece + 1u) * piece_units, row_units);
    for (uint unit = piece * piece_units + lane; unit < last; unit += LANES) {
      float w[8], v[8];
      load8(row * row_units + unit, w);
      decode8(row, unit, v);
      for (uint j = 0u; j < 8u; ++j) {
        if (unit * 8u + j >= cols)
          break;
        precise float e = w[j] - v[j];
        precise float ee = e * e, ww = w[j] * w[j], vv = v[j] * v[j], wv = w[j] * v[j];
        add_to(s[0], ee);
        add_to(s[1], ww);
        add_to(s[2], vv);
        add_to(s[3], wv);
        worst = max(worst, floatBitsToUint(e) & 0x7fffffffu); // order of magnitudes; NaN is last
      }
    }
  }
  for (int p = 0; p < 4; ++p)
    sums[p][me] = s[p];
  largest[me] = worst;
  for (uint half_way = LANES / 2u; half_way > 0u; half_way /= 2u) {
    barrier();
    if (lane < half_way) {
      for (int p = 0; p < 4; ++p) {
        vec2 both = sums[p][me];
        add_pair(both, sums[p][me + half_way]);
        sums[p][me] = both;
      }
      largest[me] = max(largest[me], largest[me + half_way]);
    }
  }
  if (lane == 0u && item < items) {
    partials[item * 3u] = uvec4(floatBitsToUint(sums[0][me]), floatBitsToUint(sums[1][me]));
    partials[item * 3u + 1u] = uvec4(floatBitsToUint(sums[2][me]), floatBitsToUint(sums[3][me]));
    partials[item * 3u + 2u] = uvec4(largest[me], 0, 0, 0);
  }
}
