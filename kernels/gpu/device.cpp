// SPDX-License-Identifier: Apache-2.0
#include "kernels/gpu/device.h"

#include <algorithm>
#include <cstdlib>

namespace bitlathe {

namespace {

constexpr std::uint64_t mib = 1 << 20;

/// About 50 ms on a slow member of each class; a driver may kill what takes seconds.
double work_per_submission(std::string_view type) {
  if (type == "cpu")
    return 4e7;
  return type == "discrete" ? 2e10 : 4e9;
}

} // namespace

Result<void> GpuDevice::check(VkResult result, const std::string& what) {
  if (result >= 0)
    return {};
  if (result == VK_ERROR_DEVICE_LOST)
    lost_ = true;
  return vk_error(result, what);
}

Error GpuDevice::mark_lost() {
  lost_ = true;
  return {"device-lost", "The GPU was lost", physical_.info.name};
}

Result<std::unique_ptr<GpuDevice>> GpuDevice::create(const VulkanOptions& options) {
  std::unique_ptr<GpuDevice> out(new GpuDevice);
  TRY_ASSIGN(out->instance_, VkInstanceOwner::create());

  const char* environment = std::getenv("BITLATHE_GPU");
  const bool by_environment = options.device.empty() && environment && *environment;
  const std::string wanted = by_environment ? environment : options.device;
  TRY_ASSIGN(out->physical_, choose_device(physical_devices(out->instance_->get()), wanted,
                                           by_environment ? "BITLATHE_GPU" : "The device option"));
  PhysicalDevice& physical = out->physical_;
  if (by_environment)
    physical.info.properties.emplace_back("BITLATHE_GPU", wanted);
  vkGetPhysicalDeviceMemoryProperties(physical.handle, &out->memory_);

  // Optional features are asked for only where the core version that holds them is there.
  const std::uint32_t version = physical.properties.apiVersion;
  auto dot = vk_struct<VkPhysicalDeviceShaderIntegerDotProductFeatures>(
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES);
  auto have = vk_struct<VkPhysicalDeviceFeatures2>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2);
  if (version >= VK_API_VERSION_1_3)
    have.pNext = &dot;
  vkGetPhysicalDeviceFeatures2(physical.handle, &have);
  out->limits_.packed_dot = dot.shaderIntegerDotProduct && !options.plain;
  out->limits_.float64 = have.features.shaderFloat64 && !options.plain;
  if (version >= VK_API_VERSION_1_2 && !options.plain) {
    auto floats = vk_struct<VkPhysicalDeviceFloatControlsProperties>(
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FLOAT_CONTROLS_PROPERTIES);
    auto properties =
        vk_struct<VkPhysicalDeviceProperties2>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2);
    properties.pNext = &floats;
    vkGetPhysicalDeviceProperties2(physical.handle, &properties);
    const auto tied = VK_SHADER_FLOAT_CONTROLS_INDEPENDENCE_NONE;
    FloatControls& use = out->float_controls_;
    use.keep_nan = floats.shaderSignedZeroInfNanPreserveFloat32;
    use.keep_subnormals =
        floats.shaderDenormPreserveFloat32 && floats.denormBehaviorIndependence != tied;
    if (floats.roundingModeIndependence != tied) {
      use.nearest_even = floats.shaderRoundingModeRTEFloat32;
      use.nearest_even_64 = floats.shaderRoundingModeRTEFloat64;
    }
  }
  out->find_limits(options);

  const float priority = 1;
  auto queue = vk_struct<VkDeviceQueueCreateInfo>(VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO);
  queue.queueFamilyIndex = physical.queue_family;
  queue.queueCount = 1;
  queue.pQueuePriorities = &priority;
  auto use_dot = vk_struct<VkPhysicalDeviceShaderIntegerDotProductFeatures>(
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES);
  use_dot.shaderIntegerDotProduct = out->limits_.packed_dot;
  auto use = vk_struct<VkPhysicalDeviceFeatures2>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2);
  use.features.shaderFloat64 = out->limits_.float64;
  if (out->limits_.packed_dot)
    use.pNext = &use_dot;
  auto create = vk_struct<VkDeviceCreateInfo>(VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO);
  create.pNext = &use;
  create.queueCreateInfoCount = 1;
  create.pQueueCreateInfos = &queue;
  if (const VkResult r = vkCreateDevice(physical.handle, &create, nullptr, &out->device_); r < 0)
    return Error{"no-device",
                 "The Vulkan device " + physical.info.name + " does not start (VkResult " +
                     std::to_string(int(r)) + ")",
                 physical.info.name};
  vkGetDeviceQueue(out->device_, physical.queue_family, 0, &out->queue_);
  return out;
}

void GpuDevice::find_limits(const VulkanOptions& options) {
  const VkPhysicalDeviceLimits& l = physical_.properties.limits;
  limits_.max_range = l.maxStorageBufferRange;
  if (options.max_range)
    limits_.max_range = std::min(limits_.max_range, options.max_range);
  // Whole binding ranges stay multiples of the alignment.
  limits_.max_range = std::max<std::uint64_t>(limits_.max_range / 256 * 256, 256);

  // Shared memory: no copy is needed where the device reads host-visible memory as its own.
  bool shared = false;
  for (std::uint32_t i = 0; i < memory_.memoryTypeCount; ++i) {
    const VkMemoryPropertyFlags all = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT |
                                      VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                      VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    shared |= (memory_.memoryTypes[i].propertyFlags & all) == all;
  }
  const bool own_memory = physical_.info.type == "discrete" || physical_.info.type == "virtual" ||
                          physical_.info.type == "other";
  limits_.unified = shared && !own_memory && !options.force_staging;
  limits_.work_per_submission = work_per_submission(physical_.info.type);
  limits_.bytes_per_chunk =
      std::min<std::uint64_t>(physical_.info.type == "cpu" ? 4 * mib : 32 * mib, limits_.max_range);
  physical_.info.properties.emplace_back("memory", limits_.unified ? "shared with the host"
                                                                   : "through staging copies");
  const auto yes = [](bool b) { return b ? "yes" : "no"; };
  physical_.info.properties.emplace_back("packed int8 dot product", yes(limits_.packed_dot));
  physical_.info.properties.emplace_back("64-bit floats", yes(limits_.float64));
  std::string floats;
  if (float_controls_.nearest_even)
    floats += "nearest even, ";
  if (float_controls_.keep_subnormals)
    floats += "subnormals, ";
  if (float_controls_.keep_nan)
    floats += "NaN, ";
  physical_.info.properties.emplace_back(
      "float behaviour asked for", floats.empty() ? "none" : floats.substr(0, floats.size() - 2));
}

GpuDevice::~GpuDevice() {
  if (device_) {
    vkDeviceWaitIdle(device_);
    vkDestroyDevice(device_, nullptr);
  }
}

} // namespace bitlathe
