// SPDX-License-Identifier: Apache-2.0
#include "shaders/shaders.h"

namespace bitlathe {
std::span<const ShaderCode> all_shaders() { return {}; }
} // namespace bitlathe
