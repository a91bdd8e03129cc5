// SPDX-License-Identifier: Apache-2.0
// Weighted squared errors of every group on every candidate grid, summed in f64 in column order, so
// that a clip search picks the same candidate as on the CPU. Used only on devices with 64-bit floats.
//   bindings   0 uvec4 values[rows][row_units]   1 uvec4 grids[rows][groups][candidates] (bits of
//              scale, 1/scale, zero)   2 float column_weight[cols]   3 uvec2 sums[rows][groups][candidates]
//   push       items = rows * groups * candidates, groups, candidates, cols, row_units, group,
//              one_grid (1: all rows and groups share their candidates)
//   constants  0 TYPE   1 BITS   2 WEIGHTED
// One thread per sum. CPU twin: `grid_errors` in kernels/cpu/scalar.cpp.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint TYPE = 0;
layout(constant_id = 1) const uint BITS = 4;
layout(constant_id = 2) const uint WEIGHTED = 0;
layout(set = 0, binding = 0) readonly buffer Values { uvec4 values[]; };
layout(set = 0, binding = 1) readonly buffer Grids { uvec4 grids[]; };
layout(set = 0, binding = 2) readonly buffer Weights { float column_weight[]; };
layout(set = 0, binding = 3) writeonly buffer Sums { uvec2 sums[]; };
layout(push_constant) uniform Push { uint items, groups, candidates, cols, row_units, group, one_grid; };
#include "floats.glsl"
#include "grid.glsl"

void main() {
  const uint item =
      (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * 64u + gl_LocalInvocationID.x;
  if (item >= items)
    return;
  const uint candidate = item % candidates, in_matrix = item / candidates;
  const uint row = in_matrix / groups, first = (in_matrix % groups) * group;
  const uint last = min(first + group, cols);
  const uvec4 grid = grids[one_grid != 0u ? candidate : item];
  const float scale = uintBitsToFloat(grid.x), inverse = uintBitsToFloat(grid.y);
  const int zero = int(grid.z);
  precise double sum = 0.0lf;
  for (uint unit = first / 8u; unit * 8u < last; ++unit) {
    float v[8];
    load8(row * row_units + unit, v);
    for (uint j = 0u; j < 8u; ++j) {
      const uint col = unit * 8u + j;
      if (col < first || col >= last)
        continue;
      const int q = int(grid_code(v[j], inverse, zero, BITS)) - zero;
      precise float decoded = scale * float(q);
      precise float e = v[j] - decoded;
      precise double square = double(e) * double(e);
      if (WEIGHTED != 0u)
        square = double(column_weight[col]) * square;
      sum = sum + square;
    }
  }
  sums[item] = unpackDouble2x32(sum);
}
