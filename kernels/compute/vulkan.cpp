// SPDX-License-Identifier: Apache-2.0
#include "kernels/compute/vulkan_devices.h"

namespace bitlathe {

Result<std::unique_ptr<Compute>> make_vulkan_compute(const VulkanOptions&) {
  return Error{"no-device", "This build has no Vulkan backend", {}};
}

std::vector<DeviceInfo> list_vulkan_devices() { return {}; }

} // namespace bitlathe
