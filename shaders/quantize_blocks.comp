// SPDX-License-Identifier: Apache-2.0
// GGUF blocks of 32 from floats, byte for byte as the CPU writes them.
//   bindings   0 uvec4 values[blocks][4 units]   1 uint out_words[]
//   push       blocks, words = ceil(blocks * block bytes / 4)
//   constants  0 TYPE   1 FORMAT (0 q8_0, 1 q4_0, 2 q4_1)
// Rows are whole blocks, so the matrix is one long list. Four threads share a block, 64 blocks a
// workgroup. Divisions are exact (divide_rne). The searches with an importance matrix stay on the CPU.
// CPU twins: encode_q8_0, encode_q4_0, encode_q4_1 in kernels/cpu/scalar.cpp.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint TYPE = 0;
layout(constant_id = 1) const uint FORMAT = 0;
layout(set = 0, binding = 0) readonly buffer Values { uvec4 values[]; };
layout(set = 0, binding = 1) writeonly buffer Words { uint out_words[]; };
layout(push_constant) uniform Push { uint blocks, words; };
#include "floats.glsl"

const uint Q8_0 = 0u, Q4_0 = 1u, Q4_1 = 2u;

shared vec2 ends[256];   ///< q8_0, q4_0: (first value of largest magnitude, -); q4_1: (min, max)
shared uvec2 parts[256]; ///< eight codes of each thread
shared uint heads[64];   ///< d, or d and m of q4_1

vec2 combine(vec2 a, vec2 b) { // a comes first
  if (FORMAT == Q4_1)
    return vec2(b.x < a.x ? b.x : a.x, b.y > a.y ? b.y : a.y);
  return vec2(abs(b.x) > abs(a.x) ? b.x : a.x, 0.0);
}

// Half word `i` of block `b` in its stored form.
uint half_word(uint b, uint i) {
  const uint head_halves = FORMAT == Q4_1 ? 2u : 1u;
  if (i < head_halves)
    return (heads[b] >> (16u * i)) & 0xffffu;
  i -= head_halves;
  if (FORMAT == Q8_0) { // codes 2i, 2i + 1
    const uvec2 p = parts[b * 4u + i / 4u];
    return ((i % 4u < 2u ? p.x : p.y) >> (16u * (i % 2u))) & 0xffffu;
  }
  // Bytes 2i, 2i + 1: low nibbles are codes 2i, 2i + 1, high nibbles those 16 further on.
  const uint shift = 8u * (i % 4u);
  const uint low = parts[b * 4u + i / 4u].x >> shift, high = parts[b * 4u + 2u + i / 4u].x >> shift;
  return (low & 15u) | ((high & 15u) << 4) | ((low & 0xf0u) << 4) | ((high & 0xf0u) << 8);
}

void main() {
  const uint first_block = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * 64u;
  const uint me = gl_LocalInvocationID.x, block = first_block + me / 4u;
  float v[8] = float[8](0, 0, 0, 0, 0, 0, 0, 0);
  if (block < blocks)
    load8(block * 4u + me % 4u, v);
  vec2 end = FORMAT == Q4_1 ? vec2(v[0]) : vec2(v[0], 0.0);
  for (uint j = 1u; j < 8u; ++j)
    end = combine(end, FORMAT == Q4_1 ? vec2(v[j]) : vec2(v[j], 0.0));
  ends[me] = end;
  barrier();
  const uint base = me & ~3u;
  end = combine(combine(ends[base], ends[base + 1u]), combine(ends[base + 2u], ends[base + 3u]));

  float d;
  if (FORMAT == Q8_0) {
    d = divide_rne(abs(end.x), 127.0);
  } else if (FORMAT == Q4_0) {
    // Exactly end.x / -8; a block of zeros, of whatever sign, gives -0 as in the reference.
    precise float eighth = (abs(end.x) > 0.0 ? end.x : 0.0) * -0.125;
    d = eighth;
  } else {
    precise float range = end.y - end.x;
    d = divide_rne(range, 15.0);
  }
  const bool zero = (floatBitsToUint(d) & 0x7fffffffu) == 0u;
  const float id = zero ? 0.0 : divide_rne(1.0, d);
  if (me % 4u == 0u)
    heads[me / 4u] = to_f16(d) | (FORMAT == Q4_1 ? to_f16(end.x) << 16 : 0u);

  uvec2 packed = uvec2(0);
  for (uint j = 0u; j < 8u; ++j) {
    if (FORMAT == Q8_0) { // to nearest, ties away from zero
      precise float scaled = v[j] * id;
      const float magnitude = abs(scaled), whole = floor(magnitude);
      const int rounded = int(whole) + int(magnitude - whole >= 0.5);
      const uint code = uint(scaled < 0.0 ? -rounded : rounded) & 255u;
      packed[j / 4u] |= code << (8u * (j % 4u));
    } else {
      precise float from = FORMAT == Q4_1 ? v[j] - end.x : v[j];
      precise float scaled = from * id;
      precise float moved = scaled + (FORMAT == Q4_1 ? 0.5 : 8.5);
      packed.x |= uint(min(int(moved), 15)) << (4u * j);
    }
  }
  parts[me] = packed;
  barrier();
  const uint halves = FORMAT == Q8_0 ? 17u : FORMAT == Q4_0 ? 9u : 10u;
  const uint first_word = first_block / 2u * halves; // 64 blocks are whole words
  for (uint i = me; i < 32u * halves && first_word + i < words; i += 256u) {
    const uint lo = 2u * i, hi = lo + 1u;
    out_words[first_word + i] =
        half_word(lo / halves, lo % halves) | (half_word(hi / halves, hi % halves) << 16);
  }
}
