// SPDX-License-Identifier: Apache-2.0
// Device memory by lifetime. An arena cuts slices from a few large blocks (drivers allow few
// allocations); freed slices join their neighbours and are reused.
//   weights   long-lived, device memory
//   scratch   one call or one submission, device memory
//   staging   one submission, host memory the device reads; recycled in the order of submissions
//   readback  one submission, cached host memory the device writes
#pragma once

#include "kernels/gpu/device.h"

#include <map>
#include <memory>
#include <vector>

namespace bitlathe {

struct GpuBlock {
  VkBuffer buffer = VK_NULL_HANDLE;
  VkDeviceMemory memory = VK_NULL_HANDLE;
  std::uint64_t size = 0;
  std::byte* mapped = nullptr;
  bool coherent = true;
  std::map<std::uint64_t, std::uint64_t> free; ///< offset -> bytes
};

/// Device memory that arenas may hold together.
struct MemoryBudget {
  std::uint64_t cap = 0, used = 0;
};

class GpuArena {
 public:
  enum class Kind { device, staging, readback };
  /// `budget` may be null (host memory is not counted).
  GpuArena(GpuDevice& device, Kind kind, std::uint64_t block_bytes, MemoryBudget* budget)
      : device_(device), kind_(kind), block_bytes_(block_bytes), budget_(budget) {}
  ~GpuArena();
  GpuArena(const GpuArena&) = delete;
  GpuArena& operator=(const GpuArena&) = delete;

  Result<GpuBuffer> allocate(std::uint64_t bytes);
  /// Gives blocks that hold nothing back to the driver.
  void trim();

 private:
  Result<GpuBlock*> add_block(std::uint64_t bytes);
  void release(GpuSlice slice);
  void destroy(GpuBlock& block);
  int memory_type(std::uint32_t allowed, std::uint64_t bytes) const;

  GpuDevice& device_;
  Kind kind_;
  std::uint64_t block_bytes_;
  MemoryBudget* budget_;
  std::vector<std::unique_ptr<GpuBlock>> blocks_;
};

} // namespace bitlathe
