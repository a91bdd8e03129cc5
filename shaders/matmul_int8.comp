// SPDX-License-Identifier: Apache-2.0
// Integer products by plain integer operations: see matmul_int8.glsl for bindings, push constants,
// constants and the CPU twin.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "dot.glsl"
#include "matmul_int8.glsl"
