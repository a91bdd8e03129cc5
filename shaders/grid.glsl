// SPDX-License-Identifier: Apache-2.0
// The unsigned code of x on an integer grid. CPU twin: `encode` in kernels/cpu/scalar.cpp: every
// step is one exactly rounded operation, so codes are identical.
#ifndef GRID_GLSL
#define GRID_GLSL

uint grid_code(float x, float inverse, int zero, uint bits) {
  precise float scaled = x * inverse;
  scaled = scaled > -512.0 ? scaled : -512.0; // also NaN
  scaled = scaled < 512.0 ? scaled : 512.0;
  const int code = int(roundEven(scaled)) + zero;
  return uint(clamp(code, 0, (1 << bits) - 1));
}

#endif
