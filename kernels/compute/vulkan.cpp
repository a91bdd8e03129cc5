// SPDX-License-Identifier: Apache-2.0
#include "kernels/compute/vulkan_compute.h"

#include "kernels/compute/vulkan_devices.h"

#include <algorithm>
#include <cstdlib>

namespace bitlathe {

VulkanCompute::VulkanCompute(std::shared_ptr<Gpu> gpu, std::unique_ptr<Compute> cpu)
    : gpu_(std::move(gpu)), cpu_(std::move(cpu)) {}

void VulkanCompute::note(const std::string& line) {
  if (said_.insert(line).second)
    notes_.push_back(line);
}

void VulkanCompute::note_fallback(std::string_view what, const Error& error) {
  if (gpu_->lost())
    note("The GPU (" + gpu_->info().name + ") was lost during " + std::string(what) +
         "; that step was done again on the CPU, and everything after it runs there");
  else
    note("On the CPU instead of the GPU: " + std::string(what) + ". " + error.text());
}

std::uint32_t lanes_for(std::int64_t n) {
  std::uint32_t lanes = 1;
  while (lanes < 256 && std::int64_t(lanes) * 2 <= n)
    lanes *= 2;
  return lanes;
}

Result<std::int64_t> VulkanCompute::piece_rows(std::initializer_list<std::int64_t> row_bytes,
                                               double work_per_row) const {
  const GpuLimits& limits = gpu_->limits();
  // Bindings carry a few bytes of slack and are rounded up.
  const std::uint64_t range = limits.max_range - std::min(limits.max_range / 2, 2 * gpu_alignment);
  auto rows = std::int64_t(std::max(1.0, limits.work_per_submission / std::max(1.0, work_per_row)));
  for (const std::int64_t bytes : row_bytes) {
    if (std::uint64_t(bytes) > range)
      return Error{"unsupported", "One row is longer than the GPU can bind at once", {}};
    if (bytes > 0)
      rows = std::min(rows, std::max<std::int64_t>(
                                1, std::int64_t(std::min(range, limits.bytes_per_chunk)) / bytes));
  }
  return rows;
}

Result<void>
VulkanCompute::stream(std::int64_t rows, std::int64_t rows_per_piece, const Feedback* feedback,
                      const std::function<Result<void>(std::int64_t, std::int64_t)>& piece) {
  for (std::int64_t first = 0; first < rows; first += rows_per_piece) {
    if (feedback && feedback->stopped())
      return cancelled_error();
    TRY(gpu_->begin());
    TRY(piece(first, std::min(rows_per_piece, rows - first)));
    TRY(gpu_->submit());
  }
  return gpu_->finish();
}

Result<GpuSlice> VulkanCompute::values(const FloatView& w, std::int64_t first, std::int64_t count) {
  return gpu_->input(std::uint64_t(count * padded_row_bytes(w)),
                     [&](std::byte* to) { fill_rows(to, w, first, count); });
}

Result<std::array<GpuSlice, 3>> VulkanCompute::packed(const MatrixView& q, const PackedFormat& f,
                                                      std::int64_t first, std::int64_t count) {
  const PackedBytes bytes = packed_bytes(f, count);
  std::array<GpuSlice, 3> out;
  TRY_ASSIGN(out[0],
             gpu_->input(bytes.codes, [&](std::byte* to) { fill_codes(to, q, first, count); }));
  TRY_ASSIGN(out[1], gpu_->input(bytes.scales,
                                 [&](std::byte* to) { fill_scales(to, q, f, first, count); }));
  TRY_ASSIGN(out[2],
             gpu_->input(bytes.zeros, [&](std::byte* to) { fill_zeros(to, q, f, first, count); }));
  return out;
}

Result<std::unique_ptr<Compute>> make_vulkan_compute(const VulkanOptions& options) {
  TRY_ASSIGN(auto cpu, make_cpu_compute());
  TRY_ASSIGN(std::shared_ptr<Gpu> gpu, Gpu::open(options));
  auto out = std::make_unique<VulkanCompute>(gpu, std::move(cpu));
  const char* environment = std::getenv("BITLATHE_GPU");
  if (options.device.empty() && environment && *environment)
    out->note("BITLATHE_GPU=" + std::string(environment) + ": using " + gpu->info().name);
  return std::unique_ptr<Compute>(std::move(out));
}

} // namespace bitlathe
