// SPDX-License-Identifier: Apache-2.0
// Round to nearest for schemes other than integers and GGUF blocks.
#pragma once

#include "core/methods/method.h"
#include "kernels/quant/dither.h"

namespace bitlathe {

Result<MethodOutput> round_blockwise(const MethodInput& input, const Dither& dither);
Result<MethodOutput> round_float8(const MethodInput& input, const Dither& dither);
Result<MethodOutput> round_nvfp4(const MethodInput& input);
Result<MethodOutput> round_ternary(const MethodInput& input, const Dither& dither);
Result<MethodOutput> round_affine(const MethodInput& input, const Dither& dither);

} // namespace bitlathe
