// SPDX-License-Identifier: Apache-2.0
// The logical device: its queue, the optional features in use, its limits, and whether it is lost.
#pragma once

#include "kernels/gpu/gpu.h"
#include "kernels/gpu/instance.h"
#include "kernels/gpu/spirv.h"

namespace bitlathe {

class GpuDevice {
 public:
  static Result<std::unique_ptr<GpuDevice>> create(const VulkanOptions& options);
  ~GpuDevice();
  GpuDevice(const GpuDevice&) = delete;
  GpuDevice& operator=(const GpuDevice&) = delete;

  VkDevice get() const { return device_; }
  VkQueue queue() const { return queue_; }
  const PhysicalDevice& physical() const { return physical_; }
  const VkPhysicalDeviceMemoryProperties& memory() const { return memory_; }
  const GpuLimits& limits() const { return limits_; }
  DeviceInfo& info() { return physical_.info; }
  /// What shaders may ask for.
  const FloatControls& float_controls() const { return float_controls_; }

  bool lost() const { return lost_; }
  /// Turns a VkResult into an Error and remembers a loss.
  Result<void> check(VkResult result, const std::string& what);
  Error mark_lost();

 private:
  GpuDevice() = default;
  void find_limits(const VulkanOptions& options);

  std::unique_ptr<VkInstanceOwner> instance_;
  PhysicalDevice physical_;
  VkPhysicalDeviceMemoryProperties memory_{};
  VkDevice device_ = VK_NULL_HANDLE;
  VkQueue queue_ = VK_NULL_HANDLE;
  GpuLimits limits_;
  FloatControls float_controls_;
  bool lost_ = false;
};

} // namespace bitlathe
