// SPDX-License-Identifier: Apache-2.0
// Packed matrix to f32, identical to the CPU.
//   bindings   0 uint codes[]   1 uint scales[]   2 uint zeros[]   3 vec4 decoded[rows][row_units][2]
//   push       units = rows * row_units, row_units = ceil(cols / 8), cols, row_words, group, groups,
//              of_row (packed.glsl)
//   constants  0 LAYOUT   1 FTYPE   2 BITS   3 ZEROS (packed.glsl)
// CPU twins: `decode` of kernels/layouts/*.cpp.
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
layout(set = 0, binding = 3) writeonly buffer Decoded { vec4 decoded[]; };
layout(push_constant) uniform Push { uint units, row_units, cols, row_words, group, groups, of_row; };
#include "packed.glsl"

void main() {
  const uint unit =
      (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * 256u + gl_LocalInvocationID.x;
  if (unit >= units)
    return;
  float v[8];
  decode8(unit / row_units, unit % row_units, v);
  decoded[unit * 2u] = vec4(v[0], v[1], v[2], v[3]);
  decoded[unit * 2u + 1u] = vec4(v[4], v[5], v[6], v[7]);
}
