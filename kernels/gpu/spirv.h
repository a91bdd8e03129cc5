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

/// The same module with rounding to nearest even, subnormals and NaN kept for 32-bit floats, for
/// devices that can promise it (SPV_KHR_float_controls).
std::vector<std::uint32_t> with_float_controls(std::span<const std::uint32_t> words);

} // namespace bitlathe
