// SPDX-License-Identifier: Apache-2.0
#include "kernels/gpu/gpu.h"

#include "kernels/gpu/queue.h"

#include <algorithm>

namespace bitlathe {

namespace {
constexpr std::uint64_t mib = 1 << 20;
constexpr std::uint64_t staging_piece = 16 * mib;
/// Readable bytes after an input, so that shaders may load whole vectors at its end.
constexpr std::uint64_t slack = 16;
} // namespace

struct Gpu::State {
  std::unique_ptr<GpuDevice> device;
  MemoryBudget budget;
  // Destroyed in reverse order: the queue waits and lets go of its memory first.
  std::unique_ptr<PipelineCache> pipelines;
  std::unique_ptr<GpuArena> weights, scratch, staging, readback;
  std::unique_ptr<GpuQueue> queue;

  Result<GpuBuffer> allocate(GpuArena& arena, std::uint64_t bytes) {
    auto buffer = arena.allocate(bytes);
    if (!buffer && buffer.error().code == "out-of-memory") { // room may lie idle elsewhere
      for (auto* other : {weights.get(), scratch.get(), staging.get(), readback.get()})
        other->trim();
      buffer = arena.allocate(bytes);
    }
    return buffer;
  }

  /// In pieces of whole `unit`s.
  Result<void> upload(const GpuSlice& to, std::uint64_t bytes, std::uint64_t unit,
                      const std::function<void(std::uint64_t, std::span<std::byte>)>& fill) {
    if (device->limits().unified && to.block->mapped) {
      // Fresh memory: no submission in flight knows it.
      fill(0, {to.block->mapped + to.offset, bytes});
      return {};
    }
    const std::uint64_t piece = std::max(staging_piece / unit, std::uint64_t(1)) * unit;
    for (std::uint64_t at = 0; at < bytes; at += piece) {
      const std::uint64_t n = std::min(piece, bytes - at);
      if (at > 0) {
        TRY(queue->submit());
        TRY(queue->begin());
      }
      TRY_ASSIGN(GpuBuffer buffer, allocate(*staging, n));
      const GpuSlice host = queue->hold(std::move(buffer));
      fill(at, {host.block->mapped + host.offset, n});
      queue->copy(host, {to.block, to.offset + at, n}, n);
    }
    return {};
  }
};

Gpu::Gpu(std::unique_ptr<State> state) : state_(std::move(state)) {}
Gpu::~Gpu() = default;

Result<std::unique_ptr<Gpu>> Gpu::open(const VulkanOptions& options) {
  auto state = std::make_unique<State>();
  TRY_ASSIGN(state->device, GpuDevice::create(options));
  GpuDevice& device = *state->device;
  // The driver and the desktop need a part of the memory too.
  state->budget.cap = options.memory_cap ? options.memory_cap : device.info().memory_bytes / 10 * 9;
  state->pipelines = std::make_unique<PipelineCache>(device, options.cache_dir);
  using Kind = GpuArena::Kind;
  state->weights = std::make_unique<GpuArena>(device, Kind::device, 64 * mib, &state->budget);
  state->scratch = std::make_unique<GpuArena>(device, Kind::device, 16 * mib, &state->budget);
  state->staging = std::make_unique<GpuArena>(device, Kind::staging, 16 * mib, nullptr);
  state->readback = std::make_unique<GpuArena>(device, Kind::readback, 16 * mib, nullptr);
  TRY_ASSIGN(state->queue, GpuQueue::create(device, options.lose_after));
  return std::unique_ptr<Gpu>(new Gpu(std::move(state)));
}

const DeviceInfo& Gpu::info() const { return state_->device->info(); }
const GpuLimits& Gpu::limits() const { return state_->device->limits(); }
bool Gpu::lost() const { return state_->device->lost(); }
std::uint64_t Gpu::memory_in_use() const { return state_->budget.used; }

Result<GpuBuffer> Gpu::weights(std::uint64_t bytes) {
  return state_->allocate(*state_->weights, bytes + slack);
}

Result<GpuBuffer> Gpu::scratch_buffer(std::uint64_t bytes) {
  return state_->allocate(*state_->scratch, bytes + slack);
}

Result<void> Gpu::begin() { return state_->queue->begin(); }
Result<void> Gpu::submit() { return state_->queue->submit(); }
Result<void> Gpu::finish() { return state_->queue->finish(); }
void Gpu::abandon() { state_->queue->abandon(); }
double Gpu::recorded_work() const { return state_->queue->recorded_work(); }

Result<GpuSlice> Gpu::scratch(std::uint64_t bytes) {
  TRY_ASSIGN(GpuBuffer buffer, state_->allocate(*state_->scratch, bytes + slack));
  return state_->queue->hold(std::move(buffer));
}

Result<GpuSlice> Gpu::input(std::uint64_t bytes, const std::function<void(std::byte*)>& fill) {
  TRY_ASSIGN(GpuBuffer buffer, state_->allocate(*state_->staging, bytes + slack));
  const GpuSlice host = state_->queue->hold(std::move(buffer));
  fill(host.block->mapped + host.offset);
  if (limits().unified)
    return host;
  TRY_ASSIGN(const GpuSlice device, scratch(bytes));
  state_->queue->copy(host, device, bytes);
  return device;
}

Result<GpuSlice> Gpu::output(std::uint64_t bytes, bool zeroed,
                             std::function<void(const std::byte*)> consume) {
  TRY_ASSIGN(GpuBuffer buffer, state_->allocate(*state_->readback, bytes));
  const GpuSlice host = state_->queue->hold(std::move(buffer));
  GpuSlice slice = host;
  if (!limits().unified) {
    TRY_ASSIGN(slice, scratch(bytes));
    state_->queue->copy_at_end(slice, host, bytes);
  }
  if (zeroed)
    state_->queue->clear(slice);
  state_->queue->on_done(host, std::move(consume));
  return slice;
}

Result<void> Gpu::upload(const GpuSlice& to, std::uint64_t bytes,
                         const std::function<void(std::uint64_t, std::span<std::byte>)>& fill) {
  return state_->upload(to, bytes, 1, fill);
}

Result<void>
Gpu::upload_rows(const GpuSlice& to, std::int64_t rows, std::int64_t row_bytes,
                 const std::function<void(std::int64_t, std::int64_t, std::byte*)>& fill) {
  return state_->upload(to, std::uint64_t(rows * row_bytes), std::uint64_t(row_bytes),
                        [&](std::uint64_t at, std::span<std::byte> piece) {
                          fill(std::int64_t(at) / row_bytes, std::int64_t(piece.size()) / row_bytes,
                               piece.data());
                        });
}

Result<void> Gpu::run(const GpuDispatch& dispatch) {
  TRY_ASSIGN(const Pipeline pipeline, state_->pipelines->get(dispatch.shader, dispatch.constants));
  return state_->queue->dispatch(pipeline, dispatch);
}

} // namespace bitlathe
