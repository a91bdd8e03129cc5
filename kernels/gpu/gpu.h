// SPDX-License-Identifier: Apache-2.0
// One Vulkan device ready for compute. Nothing above this folder sees a Vulkan type.
//
// Work is recorded into *submissions*, of which a few are in flight at a time:
//   begin()              opens one (waits for the oldest when all are in flight)
//   input() / output() / scratch()   memory that lives until this submission is done
//   run()                records a dispatch; commands happen in the order they are recorded
//   submit()             hands it to the device
//   finish()             waits for all of them; outputs are consumed in the order of submission
// Memory that outlives a submission is a GpuBuffer: weights (long-lived) or scratch (reused).
// After a device loss every call returns Error "device-lost"; a new Gpu must be opened.
#pragma once

#include "kernels/base/result.h"
#include "kernels/compute/compute.h"

#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string_view>

namespace bitlathe {

struct GpuBlock; ///< one piece of device memory that slices are cut from

/// Bytes of device memory, as a dispatch binds them.
struct GpuSlice {
  GpuBlock* block = nullptr;
  std::uint64_t offset = 0, size = 0;

  explicit operator bool() const { return block != nullptr; }
  /// `at` must be a multiple of gpu_alignment to be bound.
  GpuSlice part(std::uint64_t at, std::uint64_t bytes) const { return {block, offset + at, bytes}; }
};
/// Every slice starts at a multiple of this (covers any minStorageBufferOffsetAlignment).
constexpr std::uint64_t gpu_alignment = 256;

/// Owns a slice; gives it back to its arena when destroyed. The device must be done with it.
class GpuBuffer {
 public:
  GpuBuffer() = default;
  GpuBuffer(GpuSlice slice, std::function<void(GpuSlice)> free)
      : slice_(slice), free_(std::move(free)) {}
  GpuBuffer(GpuBuffer&& other) noexcept { *this = std::move(other); }
  GpuBuffer& operator=(GpuBuffer&& other) noexcept {
    reset();
    slice_ = std::exchange(other.slice_, {});
    free_ = std::move(other.free_);
    return *this;
  }
  ~GpuBuffer() { reset(); }
  const GpuSlice& slice() const { return slice_; }
  explicit operator bool() const { return bool(slice_); }

 private:
  void reset() {
    if (slice_)
      free_(slice_);
    slice_ = {};
  }
  GpuSlice slice_;
  std::function<void(GpuSlice)> free_;
};

struct GpuLimits {
  std::uint64_t max_range = 0;       ///< bytes one binding may span
  bool unified = false;              ///< host and device share memory: no staging copies
  bool packed_dot = false;           ///< 4x8-bit dot product instruction
  bool float64 = false;              ///< 64-bit floats in shaders
  double work_per_submission = 0;    ///< arithmetic operations that take about 50 ms at worst
  std::uint64_t bytes_per_chunk = 0; ///< a good size for one streamed piece
};

/// One kernel launch. `groups` workgroups are folded into x and y; shaders take their number from
/// gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x and ignore those past the end.
struct GpuDispatch {
  std::string_view shader;
  std::span<const std::uint32_t> constants; ///< specialisation constants 0, 1, ...
  std::span<const GpuSlice> bindings;       ///< bindings 0, 1, ...
  std::span<const std::byte> push;
  std::uint64_t groups = 1;
  double work = 0;          ///< estimated arithmetic operations
  bool independent = false; ///< does not read or overwrite what the dispatch before it wrote
};

class Gpu {
 public:
  static Result<std::unique_ptr<Gpu>> open(const VulkanOptions& options);
  ~Gpu();

  const DeviceInfo& info() const;
  const GpuLimits& limits() const;
  bool lost() const;

  Result<GpuBuffer> weights(std::uint64_t bytes);
  Result<GpuBuffer> scratch_buffer(std::uint64_t bytes);
  /// Bytes of device memory held now (weights and scratch).
  std::uint64_t memory_in_use() const;

  Result<void> begin();
  /// Room for `bytes`, filled by `fill` on the calling thread now. 16 more bytes are readable.
  Result<GpuSlice> input(std::uint64_t bytes, const std::function<void(std::byte*)>& fill);
  Result<GpuSlice> scratch(std::uint64_t bytes);
  /// Room for `bytes` whose content `consume` sees after the submission is done; `zeroed` clears it
  /// first.
  Result<GpuSlice> output(std::uint64_t bytes, bool zeroed,
                          std::function<void(const std::byte*)> consume);
  /// Copies host bytes into a buffer, through staging where needed, in as many submissions as it
  /// takes (the open one included).
  Result<void> upload(const GpuSlice& to, std::uint64_t bytes,
                      const std::function<void(std::uint64_t at, std::span<std::byte>)>& fill);
  /// The same in whole rows.
  Result<void> upload_rows(const GpuSlice& to, std::int64_t rows, std::int64_t row_bytes,
                           const std::function<void(std::int64_t, std::int64_t, std::byte*)>& fill);
  Result<void> run(const GpuDispatch& dispatch);
  /// Estimated work recorded in the open submission.
  double recorded_work() const;
  Result<void> submit();
  Result<void> finish();
  /// Waits and throws away all outputs: after an error or a cancel.
  void abandon();

 private:
  struct State;
  explicit Gpu(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

} // namespace bitlathe
