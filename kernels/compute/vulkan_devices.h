// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/compute/compute.h"

namespace bitlathe {

/// The Vulkan devices of this machine, best first; empty when there are none. Their `is_default` is
/// left false: list_devices() decides.
std::vector<DeviceInfo> list_vulkan_devices();

} // namespace bitlathe
