// SPDX-License-Identifier: Apache-2.0
// Submissions: a ring of command buffers, each with its fence, its descriptors and the memory it
// holds until it is done.
#pragma once

#include "kernels/gpu/memory.h"
#include "kernels/gpu/pipeline.h"

#include <array>

namespace bitlathe {

class GpuQueue {
 public:
  static Result<std::unique_ptr<GpuQueue>> create(GpuDevice& device, std::uint64_t lose_after);
  ~GpuQueue();
  GpuQueue(const GpuQueue&) = delete;
  GpuQueue& operator=(const GpuQueue&) = delete;

  bool recording() const { return open_ != nullptr; }
  double recorded_work() const { return open_ ? open_->work : 0; }
  std::uint32_t dispatches() const { return open_ ? open_->dispatches : 0; }

  Result<void> begin();
  Result<void> submit();
  Result<void> finish();
  void abandon();

  /// Keeps memory alive until the open submission is done.
  GpuSlice hold(GpuBuffer buffer);
  void on_done(GpuSlice mapped, std::function<void(const std::byte*)> consume);
  void copy(const GpuSlice& from, const GpuSlice& to, std::uint64_t bytes);
  /// The same after everything else that this submission records.
  void copy_at_end(const GpuSlice& from, const GpuSlice& to, std::uint64_t bytes);
  void clear(const GpuSlice& slice);
  Result<void> dispatch(const Pipeline& pipeline, const GpuDispatch& d);

  static constexpr std::uint32_t max_dispatches = 128; ///< in one submission

 private:
  struct Readback {
    GpuSlice slice;
    std::function<void(const std::byte*)> consume;
  };
  struct Copy {
    GpuSlice from, to;
    std::uint64_t bytes;
  };
  struct Slot {
    VkCommandPool commands = VK_NULL_HANDLE;
    VkCommandBuffer buffer = VK_NULL_HANDLE;
    VkDescriptorPool descriptors = VK_NULL_HANDLE;
    VkFence fence = VK_NULL_HANDLE;
    bool in_flight = false;
    std::vector<GpuBuffer> held;
    std::vector<Readback> readbacks;
    std::vector<Copy> copies_at_end;
    double work = 0;
    std::uint32_t dispatches = 0;
  };
  GpuQueue(GpuDevice& device, std::uint64_t lose_after)
      : device_(device), lose_after_(lose_after) {}
  Result<void> make(Slot& slot);
  Result<void> wait(Slot& slot, bool consume);
  void barrier();

  GpuDevice& device_;
  std::uint64_t lose_after_, submissions_ = 0;
  std::array<Slot, 3> slots_;
  std::size_t next_ = 0;
  Slot* open_ = nullptr;
};

} // namespace bitlathe
