// SPDX-License-Identifier: Apache-2.0
// The Vulkan instance and what devices it offers.
#pragma once

#include "kernels/compute/compute.h"
#include "kernels/gpu/vk.h"

#include <memory>
#include <string_view>
#include <vector>

namespace bitlathe {

class VkInstanceOwner {
 public:
  /// Error "no-device" when there is no usable loader or driver.
  static Result<std::unique_ptr<VkInstanceOwner>> create();
  ~VkInstanceOwner();
  VkInstanceOwner(const VkInstanceOwner&) = delete;
  VkInstanceOwner& operator=(const VkInstanceOwner&) = delete;
  VkInstance get() const { return instance_; }

 private:
  explicit VkInstanceOwner(VkInstance instance) : instance_(instance) {}
  VkInstance instance_;
};

/// A device that can compute, and what people want to know of it.
struct PhysicalDevice {
  VkPhysicalDevice handle = VK_NULL_HANDLE;
  VkPhysicalDeviceProperties properties{};
  std::uint32_t queue_family = 0;
  std::uint32_t timestamp_bits = 0;
  DeviceInfo info;
};
/// Best first: discrete, integrated, virtual, other, CPU; then more memory.
std::vector<PhysicalDevice> physical_devices(VkInstance instance);

/// The one that `wanted` means: an index into the list or a part of a name (upper and lower case
/// alike); the first when empty. `origin` names where the wish comes from, for the error.
Result<PhysicalDevice> choose_device(const std::vector<PhysicalDevice>& devices,
                                     std::string_view wanted, std::string_view origin);

} // namespace bitlathe
