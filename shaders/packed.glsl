// SPDX-License-Identifier: Apache-2.0
// decode8(row, unit, v): eight columns of a packed matrix as floats, exactly as the CPU decodes them
// (kernels/layouts/*.cpp). Before it the includer declares
//   uint codes[], scales[], zeros[];          storage buffers
//   cols, row_words, group, groups, of_row    push constants: words (float: units of eight) of a row
//                                             of codes; groups and scales of a row (of_row 0: one
//                                             scale for all)
//   LAYOUT, FTYPE, BITS, ZEROS                constants: layout below; type of the values or scales;
//                                             how the zero of a code is stored
#include "num.glsl"

const uint LAYOUT_FLOAT = 0u, LAYOUT_INT = 1u, LAYOUT_Q8_0 = 2u, LAYOUT_Q4_0 = 3u, LAYOUT_Q4_1 = 4u;
// The middle code; a byte per group; an offset per group, f32 with f32 scales, else f16
// (w = scale * u + offset).
const uint ZEROS_MIDDLE = 0u, ZEROS_BYTE = 1u, ZEROS_OFFSET = 2u;

uint half_at(uint at) { return (codes[at >> 1] >> (16u * (at & 1u))) & 0xffffu; }
uint word_at_half(uint at) {
  return (at & 1u) == 0u ? codes[at >> 1] : (codes[at >> 1] >> 16) | (codes[(at >> 1) + 1u] << 16);
}

float scale_at(uint at) {
  if (FTYPE == F32)
    return uintBitsToFloat(scales[at]);
  return from_half(FTYPE, (scales[at >> 1] >> (16u * (at & 1u))) & 0xffffu);
}

int zero_at(uint at) {
  if (ZEROS == ZEROS_BYTE)
    return int((zeros[at >> 2] >> (8u * (at & 3u))) & 255u);
  return 1 << (BITS - 1u);
}

// Eight unsigned codes starting at column 8 * unit, BITS each, from bit 0 of x on.
uvec2 codes8(uint row, uint unit) {
  const uint bit = unit * 8u * BITS, word = row * row_words + (bit >> 5), shift = bit & 31u;
  const uint need = shift + 8u * BITS;
  const uint a = codes[word], b = need > 32u ? codes[word + 1u] : 0u;
  const uint c = need > 64u ? codes[word + 2u] : 0u;
  if (shift == 0u)
    return uvec2(a, b);
  return uvec2((a >> shift) | (b << (32u - shift)), (b >> shift) | (c << (32u - shift)));
}

uint code_of(uvec2 packed, uint j) {
  const uint at = j * BITS, mask = (1u << BITS) - 1u;
  if (at >= 32u)
    return (packed.y >> (at - 32u)) & mask;
  uint code = packed.x >> at;
  if (at + BITS > 32u)
    code |= packed.y << (32u - at);
  return code & mask;
}

void decode8(uint row, uint unit, out float v[8]) {
  if (LAYOUT == LAYOUT_FLOAT) {
    const uint at = row * row_words + unit;
    if (FTYPE == F32) {
      for (uint j = 0u; j < 8u; ++j)
        v[j] = uintBitsToFloat(codes[at * 8u + j]);
    } else {
      for (uint j = 0u; j < 4u; ++j) {
        const uint two = codes[at * 4u + j];
        v[2u * j] = from_half(FTYPE, two & 0xffffu);
        v[2u * j + 1u] = from_half(FTYPE, two >> 16);
      }
    }
  } else if (LAYOUT == LAYOUT_INT) {
    const uvec2 packed = codes8(row, unit);
    const uint col = unit * 8u;
    uint g = groups <= 1u ? 0u : col / group;
    const bool one_group = groups <= 1u || min(col + 7u, cols - 1u) / group == g;
    float scale = scale_at(row * of_row + (of_row == 0u ? 0u : g)), offset = 0.0;
    int zero = 0;
    if (ZEROS == ZEROS_OFFSET && FTYPE == F32)
      offset = uintBitsToFloat(zeros[row * of_row + g]);
    else if (ZEROS == ZEROS_OFFSET)
      offset = from_f16((zeros[(row * of_row + g) >> 1] >> (16u * ((row * of_row + g) & 1u))) & 0xffffu);
    else
      zero = zero_at(row * of_row + (of_row == 0u ? 0u : g));
    for (uint j = 0u; j < 8u; ++j) {
      if (!one_group) {
        g = min((col + j) / group, groups - 1u);
        scale = scale_at(row * of_row + (of_row == 0u ? 0u : g));
        zero = zero_at(row * of_row + (of_row == 0u ? 0u : g));
      }
      precise float w = scale * float(int(code_of(packed, j)) - zero);
      if (ZEROS == ZEROS_OFFSET)
        w = w + offset;
      v[j] = w;
    }
  } else { // GGUF blocks of 32, in half words
    const uint halves = LAYOUT == LAYOUT_Q8_0 ? 17u : LAYOUT == LAYOUT_Q4_0 ? 9u : 10u;
    const uint block = (row * (cols / 32u) + unit / 4u) * halves, part = unit % 4u;
    const float d = from_f16(half_at(block));
    if (LAYOUT == LAYOUT_Q8_0) {
      for (uint h = 0u; h < 2u; ++h) {
        const int four = int(word_at_half(block + 1u + part * 4u + h * 2u));
        for (int j = 0; j < 4; ++j) {
          precise float w = float(bitfieldExtract(four, 8 * j, 8)) * d;
          v[h * 4u + j] = w;
        }
      }
    } else {
      const uint head = LAYOUT == LAYOUT_Q4_1 ? 2u : 1u;
      const float m = LAYOUT == LAYOUT_Q4_1 ? from_f16(half_at(block + 1u)) : 0.0;
      for (uint h = 0u; h < 2u; ++h) {
        const uint four = word_at_half(block + head + (part % 2u) * 4u + h * 2u) >> (part < 2u ? 0 : 4);
        for (uint j = 0u; j < 4u; ++j) {
          const int q = int((four >> (8u * j)) & 15u);
          precise float w = float(LAYOUT == LAYOUT_Q4_1 ? q : q - 8) * d;
          if (LAYOUT == LAYOUT_Q4_1)
            w = w + m;
          v[h * 4u + j] = w;
        }
      }
    }
  }
}
