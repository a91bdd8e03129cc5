// SPDX-License-Identifier: Apache-2.0
#include "kernels/compute/compute.h"
#include "kernels/compute/vulkan_devices.h"
#include "kernels/cpu/isa.h"

#include <cstdlib>

namespace bitlathe {

namespace {

/// A Vulkan device that is itself a CPU (lavapipe) is slower than the CPU backend.
bool worth_choosing(const DeviceInfo& device) { return device.type != "cpu"; }

} // namespace

Result<std::unique_ptr<Compute>> make_compute(std::string_view backend,
                                              const VulkanOptions& options) {
  TRY(check_environment());
  if (backend == "cpu")
    return make_cpu_compute();
  if (backend == "vulkan")
    return make_vulkan_compute(options);
  if (backend != "auto" && !backend.empty())
    return Error{"bad-argument",
                 "There is no backend \"" + std::string(backend) +
                     "\"; it must be auto, cpu or vulkan",
                 {}};
  // A device asked for by name is an override: it works or it is an error.
  const char* wanted = std::getenv("BITLATHE_GPU");
  if (!options.device.empty() || (wanted && *wanted))
    return make_vulkan_compute(options);
  for (const DeviceInfo& device : list_vulkan_devices()) {
    if (!worth_choosing(device))
      continue;
    if (auto vulkan = make_vulkan_compute(options); vulkan && worth_choosing((*vulkan)->device()))
      return vulkan;
    break;
  }
  return make_cpu_compute();
}

std::vector<DeviceInfo> list_devices() {
  std::vector<DeviceInfo> devices;
  if (auto cpu = make_cpu_compute())
    devices.push_back((*cpu)->device());
  for (DeviceInfo& device : list_vulkan_devices())
    devices.push_back(std::move(device));
  // Exactly one default: what "auto" takes.
  std::size_t chosen = 0;
  for (std::size_t i = devices.size(); i-- > 1;)
    if (worth_choosing(devices[i]))
      chosen = i;
  for (std::size_t i = 0; i < devices.size(); ++i)
    devices[i].is_default = i == chosen;
  return devices;
}

} // namespace bitlathe
