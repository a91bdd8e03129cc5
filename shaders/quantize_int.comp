// SPDX-License-Identifier: Apache-2.0
// Codes of values on given integer grids, as the dense bitstream of layout "int".
//   bindings   0 uvec4 values[rows][row_units]   1 uvec2 grids[rows][groups] (bits of 1/scale, zero)
//              2 uint codes[rows][row_words]
//   push       blocks = rows * row_blocks, row_blocks = ceil(cols / 32), cols, row_units, row_words,
//              group, groups (0: one grid for all)
//   constants  0 TYPE   1 BITS (2 .. 8)
// Four threads code a block of 32 columns (BITS words); a workgroup takes 64 blocks. Scales and zero
// points come from the host on every backend. CPU twin: `encode` and `pack` in kernels/cpu/scalar.cpp.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint TYPE = 0;
layout(constant_id = 1) const uint BITS = 4;
layout(set = 0, binding = 0) readonly buffer Values { uvec4 values[]; };
layout(set = 0, binding = 1) readonly buffer Grids { uvec2 grids[]; };
layout(set = 0, binding = 2) writeonly buffer Codes { uint codes[]; };
layout(push_constant) uniform Push { uint blocks, row_blocks, cols, row_units, row_words, group, groups; };
#include "floats.glsl"
#include "grid.glsl"

shared uvec2 parts[256]; ///< eight codes of each thread

void main() {
  const uint first_block = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * 64u;
  const uint me = gl_LocalInvocationID.x;
  const uint block = first_block + me / 4u;
  uvec2 packed = uvec2(0);
  const uint row = block / row_blocks, unit = (block % row_blocks) * 4u + me % 4u;
  if (block < blocks && unit < row_units) {
    float v[8];
    load8(row * row_units + unit, v);
    const uint col = unit * 8u, of_row = row * groups;
    const uint g = groups == 0u ? 0u : col / group;
    const bool one_group = groups == 0u || min(col + 7u, cols - 1u) / group == g;
    uvec2 grid = grids[of_row + g];
    for (uint j = 0u; j < 8u; ++j) {
      if (col + j >= cols)
        break;
      if (!one_group)
        grid = grids[of_row + (col + j) / group];
      const uint code = grid_code(v[j], uintBitsToFloat(grid.x), int(grid.y), BITS);
      const uint at = j * BITS;
      if (at < 32u) {
        packed.x |= code << at;
        if (at + BITS > 32u)
          packed.y |= code >> (32u - at);
      } else {
        packed.y |= code << (at - 32u);
      }
    }
  }
  parts[me] = packed;
  barrier();
  for (uint i = me; i < 64u * BITS; i += 256u) {
    const uint to = first_block + i / BITS, word = i % BITS;
    const uint in_row = (to % row_blocks) * BITS + word;
    if (to >= blocks || in_row >= row_words)
      continue;
    // Bits [32 word, 32 word + 32) of the block; each thread gave 8 * BITS of them.
    uint result = 0u;
    for (uint filled = 0u; filled < 32u;) {
      const uint bit = word * 32u + filled;
      const uint from = bit / (8u * BITS), offset = bit % (8u * BITS);
      const uvec2 p = parts[(i / BITS) * 4u + from];
      const uint n = min(8u * BITS - offset, 32u - filled);
      const uint bits = offset >= 32u ? p.y >> (offset - 32u)
                        : offset == 0u ? p.x
                                       : (p.x >> offset) | (p.y << (32u - offset));
      result |= (n == 32u ? bits : bits & ((1u << n) - 1u)) << filled;
      filled += n;
    }
    codes[(to / row_blocks) * row_words + in_row] = result;
  }
}
