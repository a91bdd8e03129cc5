// SPDX-License-Identifier: Apache-2.0
#include "kernels/gpu/instance.h"

#include "kernels/compute/vulkan_devices.h"

#include <algorithm>
#include <cctype>
#include <charconv>

namespace bitlathe {

namespace {

std::string_view type_name(VkPhysicalDeviceType type) {
  switch (type) {
  case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
    return "discrete";
  case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
    return "integrated";
  case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
    return "virtual";
  case VK_PHYSICAL_DEVICE_TYPE_CPU:
    return "cpu";
  default:
    return "other";
  }
}

int rank(std::string_view type) {
  constexpr std::string_view order[] = {"discrete", "integrated", "virtual", "other", "cpu"};
  return int(std::find(std::begin(order), std::end(order), type) - std::begin(order));
}

std::string version_text(std::uint32_t v) {
  return std::to_string(VK_API_VERSION_MAJOR(v)) + "." + std::to_string(VK_API_VERSION_MINOR(v)) +
         "." + std::to_string(VK_API_VERSION_PATCH(v));
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return char(std::tolower(c)); });
  return out;
}

DeviceInfo describe(VkPhysicalDevice handle, const VkPhysicalDeviceProperties& p) {
  DeviceInfo info;
  info.name = p.deviceName;
  info.backend = "vulkan";
  info.type = type_name(p.deviceType);
  VkPhysicalDeviceMemoryProperties memory{};
  vkGetPhysicalDeviceMemoryProperties(handle, &memory);
  for (std::uint32_t i = 0; i < memory.memoryHeapCount; ++i)
    if (memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT)
      info.memory_bytes = std::max<std::uint64_t>(info.memory_bytes, memory.memoryHeaps[i].size);
  const auto& l = p.limits;
  info.properties = {
      {"Vulkan", version_text(p.apiVersion)},
      {"driver version", std::to_string(p.driverVersion)},
      {"maxStorageBufferRange", std::to_string(l.maxStorageBufferRange)},
      {"maxComputeSharedMemorySize", std::to_string(l.maxComputeSharedMemorySize)},
      {"maxComputeWorkGroupInvocations", std::to_string(l.maxComputeWorkGroupInvocations)},
      {"maxMemoryAllocationCount", std::to_string(l.maxMemoryAllocationCount)},
      {"maxPushConstantsSize", std::to_string(l.maxPushConstantsSize)}};
  return info;
}

} // namespace

Error vk_error(VkResult result, const std::string& what) {
  const std::string text = "The GPU could not " + what;
  switch (result) {
  case VK_ERROR_DEVICE_LOST:
    return {"device-lost", text + ": the device was lost", {}};
  case VK_ERROR_OUT_OF_DEVICE_MEMORY:
    return {"out-of-memory", text + ": its memory is full", {}};
  case VK_ERROR_OUT_OF_HOST_MEMORY:
    return {"out-of-memory", text + ": main memory is full", {}};
  default:
    return {"internal", text + " (VkResult " + std::to_string(int(result)) + ")", {}};
  }
}

Result<std::unique_ptr<VkInstanceOwner>> VkInstanceOwner::create() {
  std::uint32_t version = VK_API_VERSION_1_0;
  if (vkEnumerateInstanceVersion(&version) != VK_SUCCESS || version < VK_API_VERSION_1_1)
    return Error{"no-device", "The Vulkan loader of this machine is older than 1.1", {}};
  auto app = vk_struct<VkApplicationInfo>(VK_STRUCTURE_TYPE_APPLICATION_INFO);
  app.pApplicationName = "Bitlathe";
  app.apiVersion = std::min<std::uint32_t>(version, VK_API_VERSION_1_3);
  auto create = vk_struct<VkInstanceCreateInfo>(VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO);
  create.pApplicationInfo = &app;
  VkInstance instance = VK_NULL_HANDLE;
  if (const VkResult r = vkCreateInstance(&create, nullptr, &instance); r != VK_SUCCESS) {
    const std::string why = r == VK_ERROR_INCOMPATIBLE_DRIVER
                                ? "no Vulkan driver is installed"
                                : "VkResult " + std::to_string(int(r));
    return Error{"no-device", "Vulkan does not start on this machine: " + why, {}};
  }
  return std::unique_ptr<VkInstanceOwner>(new VkInstanceOwner(instance));
}

VkInstanceOwner::~VkInstanceOwner() { vkDestroyInstance(instance_, nullptr); }

std::vector<PhysicalDevice> physical_devices(VkInstance instance) {
  std::uint32_t n = 0;
  if (vkEnumeratePhysicalDevices(instance, &n, nullptr) < 0)
    return {};
  std::vector<VkPhysicalDevice> handles(n);
  if (n == 0 || vkEnumeratePhysicalDevices(instance, &n, handles.data()) < 0)
    return {};
  handles.resize(n);

  std::vector<PhysicalDevice> out;
  for (VkPhysicalDevice handle : handles) {
    PhysicalDevice device;
    device.handle = handle;
    vkGetPhysicalDeviceProperties(handle, &device.properties);
    if (device.properties.apiVersion < VK_API_VERSION_1_1)
      continue;
    std::uint32_t families = 0;
    vkGetPhysicalDeviceQueueFamilyProperties(handle, &families, nullptr);
    std::vector<VkQueueFamilyProperties> queues(families);
    vkGetPhysicalDeviceQueueFamilyProperties(handle, &families, queues.data());
    bool found = false;
    for (std::uint32_t i = 0; i < families; ++i) {
      if (!(queues[i].queueFlags & VK_QUEUE_COMPUTE_BIT))
        continue;
      // A family without graphics runs beside the desktop's own work.
      const bool dedicated = !(queues[i].queueFlags & VK_QUEUE_GRAPHICS_BIT);
      if (!found || dedicated) {
        device.queue_family = i;
        device.timestamp_bits = queues[i].timestampValidBits;
      }
      found = true;
      if (dedicated)
        break;
    }
    if (!found)
      continue;
    device.info = describe(handle, device.properties);
    out.push_back(std::move(device));
  }
  std::stable_sort(out.begin(), out.end(), [](const PhysicalDevice& a, const PhysicalDevice& b) {
    const int ra = rank(a.info.type), rb = rank(b.info.type);
    return ra != rb ? ra < rb : a.info.memory_bytes > b.info.memory_bytes;
  });
  return out;
}

Result<PhysicalDevice> choose_device(const std::vector<PhysicalDevice>& devices,
                                     std::string_view wanted, std::string_view origin) {
  if (devices.empty())
    return Error{"no-device", "No Vulkan device that can compute was found on this machine", {}};
  if (wanted.empty())
    return devices.front();
  std::size_t index = 0;
  const auto parsed = std::from_chars(wanted.data(), wanted.data() + wanted.size(), index);
  if (parsed.ec == std::errc() && parsed.ptr == wanted.data() + wanted.size()) {
    if (index < devices.size())
      return devices[index];
  } else {
    for (const auto& device : devices)
      if (lower(device.info.name).find(lower(wanted)) != std::string::npos)
        return device;
  }
  std::string have;
  for (std::size_t i = 0; i < devices.size(); ++i)
    have += (i ? ", " : "") + std::to_string(i) + " = " + devices[i].info.name;
  return Error{"no-device",
               std::string(origin) + " asks for the Vulkan device \"" + std::string(wanted) +
                   "\", but this machine has: " + have,
               std::string(origin)};
}

std::vector<DeviceInfo> list_vulkan_devices() {
  auto instance = VkInstanceOwner::create();
  if (!instance)
    return {};
  std::vector<DeviceInfo> out;
  for (auto& device : physical_devices((*instance)->get()))
    out.push_back(std::move(device.info));
  return out;
}

} // namespace bitlathe
