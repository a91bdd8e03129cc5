// SPDX-License-Identifier: Apache-2.0
// The compute shaders as embedded SPIR-V, by name.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace bitlathe {

struct ShaderCode {
  std::string_view name; ///< file name without .comp
  std::span<const std::uint32_t> words;
};
std::span<const ShaderCode> all_shaders();

} // namespace bitlathe
