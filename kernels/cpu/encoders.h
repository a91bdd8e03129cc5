// SPDX-License-Identifier: Apache-2.0
// Declares the encoders of GGUF blocks for one instruction set, or for plain C++ (scalar): one
// source for all of them. See BlockKernels::encode.
#pragma once

#include "kernels/cpu/kernels.h"

namespace bitlathe::cpu::BITLATHE_ISA {

#define BITLATHE_BLOCK_TYPE(name)                                                                  \
  void encode_##name(const float* x, const float* importance, std::int64_t n_blocks,               \
                     std::uint8_t* out)
BITLATHE_BLOCK_TYPE(q8_0);
BITLATHE_BLOCK_TYPE(q4_0);
BITLATHE_BLOCK_TYPE(q4_1);
BITLATHE_BLOCK_TYPE(q5_0);
BITLATHE_BLOCK_TYPE(q5_1);
BITLATHE_BLOCK_TYPE(q2_k);
BITLATHE_BLOCK_TYPE(q3_k);
BITLATHE_BLOCK_TYPE(q4_k);
BITLATHE_BLOCK_TYPE(q5_k);
BITLATHE_BLOCK_TYPE(q6_k);
BITLATHE_BLOCK_TYPE(iq4_nl);
BITLATHE_BLOCK_TYPE(iq4_xs);
BITLATHE_BLOCK_TYPE(mxfp4);
BITLATHE_BLOCK_TYPE(nvfp4);
BITLATHE_BLOCK_TYPE(tq1_0);
BITLATHE_BLOCK_TYPE(tq2_0);
#undef BITLATHE_BLOCK_TYPE

} // namespace bitlathe::cpu::BITLATHE_ISA
