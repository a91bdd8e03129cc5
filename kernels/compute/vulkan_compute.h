// SPDX-License-Identifier: Apache-2.0
// The Vulkan backend: streams matrices through the device in pieces of rows that fit its binding
// range and a bounded submission. Whatever the device cannot do (a lost device, a shape or layout
// without a kernel, no memory for scratch) is done on the CPU backend, with a note.
#pragma once

#include "kernels/compute/compute.h"
#include "kernels/compute/vulkan_format.h"
#include "kernels/gpu/gpu.h"

#include <set>

namespace bitlathe {

class VulkanMatrix final : public LoadedMatrix {
 public:
  struct Part {
    std::int64_t first = 0, count = 0;
    GpuBuffer codes, scales, zeros;
  };
  MatrixView view;
  PackedFormat format;
  std::shared_ptr<Gpu> gpu; ///< before the buffers, which it must outlive
  std::vector<Part> parts;  ///< empty: only on the CPU
  mutable std::unique_ptr<LoadedMatrix> on_cpu;
};

class VulkanCompute final : public Compute {
 public:
  VulkanCompute(std::shared_ptr<Gpu> gpu, std::unique_ptr<Compute> cpu);
  const DeviceInfo& device() const override { return gpu_->info(); }
  std::vector<std::string> notes() const override { return notes_; }
  void note(const std::string& line);

  Result<Moments> moments(const FloatView& w, const Feedback* feedback) override;
  Result<void> row_moments(const FloatView& w, std::span<Moments> out,
                           const Feedback* feedback) override;
  Result<void> histogram(const FloatView& w, float lo, float hi, std::span<std::uint64_t> counts,
                         const Feedback* feedback) override;
  Result<void> group_ranges(const FloatView& w, std::int64_t group, std::span<float> lo,
                            std::span<float> hi, const Feedback* feedback) override;
  Result<void> quantize_int(const FloatView& w, const IntSpec& spec, std::span<const IntGrid> grids,
                            std::span<std::byte> codes, const Feedback* feedback) override;
  Result<void> int_errors(const FloatView& w, const IntSpec& spec,
                          std::span<const std::vector<IntGrid>> candidates,
                          std::span<const float> column_weight, std::span<double> out,
                          const Feedback* feedback) override;
  Result<void> quantize_blocks(const FloatView& w, std::string_view layout,
                               std::span<const float> importance, std::span<std::byte> blocks,
                               const Feedback* feedback) override;
  Result<void> decode(const MatrixView& q, std::int64_t first_row, std::int64_t n_rows,
                      std::span<float> out, const Feedback* feedback) override;
  Result<ErrorSums> error(const FloatView& w, const MatrixView& q,
                          const Feedback* feedback) override;
  Result<void> row_errors(const FloatView& w, const MatrixView& q, std::span<ErrorSums> out,
                          const Feedback* feedback) override;
  Result<std::unique_ptr<LoadedMatrix>> load(const MatrixView& w) override;
  Result<void> matmul(const float* x, std::int64_t m, const LoadedMatrix& w, float* y) override;
  Result<void> matmul_int8(const float* x, std::int64_t m, const LoadedMatrix& w, float* y,
                           float scale) override;

 private:
  /// Runs on the device, and on the CPU where that does not work out.
  template <class OnGpu, class OnCpu>
  auto on_device(std::string_view what, OnGpu on_gpu, OnCpu on_cpu) -> decltype(on_cpu());
  void note_fallback(std::string_view what, const Error& error);

  /// Rows of a piece: every binding (given in bytes per row) within range and chunk size, the work
  /// within one submission. Error "unsupported" when one row is too long.
  Result<std::int64_t> piece_rows(std::initializer_list<std::int64_t> row_bytes,
                                  double work_per_row) const;
  /// piece(first, count) records one submission; all of them are done at the end.
  Result<void> stream(std::int64_t rows, std::int64_t rows_per_piece, const Feedback* feedback,
                      const std::function<Result<void>(std::int64_t, std::int64_t)>& piece);
  Result<GpuSlice> values(const FloatView& w, std::int64_t first, std::int64_t count);
  /// Codes, scales and zeros of some rows.
  Result<std::array<GpuSlice, 3>> packed(const MatrixView& q, const PackedFormat& f,
                                         std::int64_t first, std::int64_t count);
  Result<void> gpu_moments(const FloatView& w, std::span<Moments> out, const Feedback* feedback);
  Result<void> gpu_errors(const FloatView& w, const MatrixView& q, std::span<ErrorSums> out,
                          const Feedback* feedback);
  Result<void> gpu_histogram(const FloatView& w, float lo, float hi, float inv,
                             std::span<std::uint64_t> counts, const Feedback* feedback);
  Result<void> gpu_decode(const MatrixView& q, std::int64_t first_row, std::int64_t n_rows,
                          std::span<float> out, const Feedback* feedback);
  Result<void> gpu_load(const MatrixView& w, VulkanMatrix& to);
  Result<void> gpu_matmul(const float* x, std::int64_t m, const VulkanMatrix& w, float* y);
  Result<void> gpu_matmul_int8(const float* x, std::int64_t m, const VulkanMatrix& w, float* y,
                               float scale);
  Result<const LoadedMatrix*> cpu_twin(const VulkanMatrix& w);

  std::shared_ptr<Gpu> gpu_;
  std::unique_ptr<Compute> cpu_;
  std::vector<std::string> notes_;
  std::set<std::string> said_;
};

/// Push constants and specialisation constants as a dispatch takes them.
template <class T> std::span<const std::byte> push_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}
/// The largest power of two up to n (n >= 1), within [1, 256].
std::uint32_t lanes_for(std::int64_t n);

template <class OnGpu, class OnCpu>
auto VulkanCompute::on_device(std::string_view what, OnGpu on_gpu, OnCpu on_cpu)
    -> decltype(on_cpu()) {
  if (!gpu_->lost()) {
    auto result = on_gpu();
    if (result.ok())
      return result;
    gpu_->abandon();
    if (result.error().cancelled() || result.error().code == "bad-argument")
      return result;
    note_fallback(what, result.error());
  }
  return on_cpu();
}

} // namespace bitlathe
