// SPDX-License-Identifier: Apache-2.0
// load8(unit, v): eight floats of type TYPE from the buffer `values` (uvec4[]), of which rows are
// padded to whole units of eight. Needs TYPE and `values` declared before it.
#include "num.glsl"

void load8(uint unit, out float v[8]) {
  if (TYPE == F32) {
    const uvec4 a = values[2u * unit], b = values[2u * unit + 1u];
    for (int j = 0; j < 4; ++j) {
      v[j] = uintBitsToFloat(a[j]);
      v[j + 4] = uintBitsToFloat(b[j]);
    }
  } else {
    const uvec4 a = values[unit];
    for (int j = 0; j < 4; ++j) {
      v[2 * j] = from_half(TYPE, a[j] & 0xffffu);
      v[2 * j + 1] = from_half(TYPE, a[j] >> 16);
    }
  }
}
