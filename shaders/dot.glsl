// SPDX-License-Identifier: Apache-2.0
// dot4(a, b): the dot product of four signed bytes each. PACKED_DOT: one OpSDot (needs the device
// feature shaderIntegerDotProduct); this glslang has no spelling for it but the instruction itself.
#ifdef PACKED_DOT
#extension GL_EXT_spirv_intrinsics : require
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6019, 6018], id = 4450)
int packed_dot(uint a, uint b, spirv_literal int format);
int dot4(uint a, uint b) { return packed_dot(a, b, 0); }
#else
int dot4(uint a, uint b) {
  const int x = int(a), y = int(b);
  return bitfieldExtract(x, 0, 8) * bitfieldExtract(y, 0, 8) +
         bitfieldExtract(x, 8, 8) * bitfieldExtract(y, 8, 8) +
         bitfieldExtract(x, 16, 8) * bitfieldExtract(y, 16, 8) + (x >> 24) * (y >> 24);
}
#endif
