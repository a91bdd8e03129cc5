// SPDX-License-Identifier: Apache-2.0
// As much reading of SPIR-V as compute kernels need: which storage buffers, push constants and
// specialisation constants a module declares. Descriptor layouts come from here, so a new shader
// needs no table in C++.
#pragma once

#include "kernels/base/result.h"

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace bitlathe {

struct SpirvInterface {
  std::uint32_t bindings = 0;       ///< storage buffers of set 0: bindings 0 .. bindings - 1
  std::uint32_t push_bytes = 0;     ///< size of the push constant block
  std::uint32_t constants = 0;      ///< specialisation constants 0 .. constants - 1
  std::uint32_t workgroup_size = 0; ///< invocations of one workgroup
  bool uses_float64 = false, uses_packed_dot = false;
};

/// Error "internal" for a module that does not keep the conventions of shaders/README.md.
Result<SpirvInterface> reflect_spirv(std::span<const std::uint32_t> words, std::string_view name);

/// What a device promises of floats when a module asks for it (SPV_KHR_float_controls).
struct FloatControls {
  bool keep_subnormals = false, keep_nan = false, nearest_even = false; ///< of 32-bit floats
  bool nearest_even_64 = false;
  bool any() const { return keep_subnormals || keep_nan || nearest_even || nearest_even_64; }
};
/// The same module, asking for these.
std::vector<std::uint32_t> with_float_controls(std::span<const std::uint32_t> words,
                                               const FloatControls& controls);

} // namespace bitlathe
