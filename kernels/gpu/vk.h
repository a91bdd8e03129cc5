// SPDX-License-Identifier: Apache-2.0
// Inside kernels/gpu only: Vulkan itself, and its result codes as errors.
#pragma once

#include "kernels/base/result.h"

#include <string>
#include <vulkan/vulkan.h>

namespace bitlathe {

/// `what` completes "The GPU could not ...".
Error vk_error(VkResult result, const std::string& what);

/// A zeroed structure of this type.
template <class T> T vk_struct(VkStructureType type) {
  T out{};
  out.sType = type;
  return out;
}

} // namespace bitlathe
