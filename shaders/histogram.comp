// SPDX-License-Identifier: Apache-2.0
// Counts of values per bin, exact.
//   bindings   0 uvec4 values[rows][row_units]   1 uint counts[bins], cleared before
//   push       units = rows * row_units, cols, row_units, group_units, bins, lo, hi, inv
//   constants  0 TYPE   1 LOCAL_BINS: bins counted in shared memory first (1 .. 4096), or 1 with
//              more bins than that, which are counted in memory at once
// A workgroup takes group_units units. CPU twin: `histogram` in kernels/cpu/scalar.cpp.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint TYPE = 0;
layout(constant_id = 1) const uint LOCAL_BINS = 1;
layout(set = 0, binding = 0) readonly buffer Values { uvec4 values[]; };
layout(set = 0, binding = 1) buffer Counts { uint counts[]; };
layout(push_constant) uniform Push { uint units, cols, row_units, group_units, bins; float lo, hi, inv; };
#include "floats.glsl"

shared uint local_counts[LOCAL_BINS];

void main() {
  const uint group = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
  const bool in_shared = bins <= LOCAL_BINS;
  if (in_shared)
    for (uint b = gl_LocalInvocationID.x; b < bins; b += 256u)
      local_counts[b] = 0u;
  barrier();
  const uint first_key = ordered_key(floatBitsToUint(lo)), last_key = ordered_key(floatBitsToUint(hi));
  const uint last = min((group + 1u) * group_units, units);
  for (uint unit = group * group_units + gl_LocalInvocationID.x; unit < last; unit += 256u) {
    float v[8];
    load8(unit, v);
    const uint col = (unit % row_units) * 8u;
    for (uint j = 0u; j < 8u; ++j) {
      // + 0.0 as keys tell -0 from 0
      const uint bits = floatBitsToUint(v[j]) == 0x80000000u ? 0u : floatBitsToUint(v[j]);
      const uint key = ordered_key(bits);
      if (col + j < cols && !is_nan(bits) && key >= first_key && key <= last_key) {
        precise float at = (v[j] - lo) * inv;
        const uint bin = at < float(bins) ? uint(at) : bins - 1u;
        if (in_shared)
          atomicAdd(local_counts[bin], 1u);
        else
          atomicAdd(counts[bin], 1u);
      }
    }
  }
  barrier();
  if (in_shared)
    for (uint b = gl_LocalInvocationID.x; b < bins; b += 256u)
      if (local_counts[b] != 0u)
        atomicAdd(counts[b], local_counts[b]);
}
