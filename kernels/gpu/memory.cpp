// SPDX-License-Identifier: Apache-2.0
#include "kernels/gpu/memory.h"

#include <algorithm>

namespace bitlathe {

namespace {

std::uint64_t align_up(std::uint64_t n, std::uint64_t to) { return (n + to - 1) / to * to; }

std::string size_text(std::uint64_t bytes) {
  return bytes >= 10 << 20 ? std::to_string(bytes >> 20) + " MiB"
                           : std::to_string(bytes >> 10) + " KiB";
}

} // namespace

GpuArena::~GpuArena() {
  for (auto& block : blocks_)
    destroy(*block);
}

void GpuArena::destroy(GpuBlock& block) {
  vkDestroyBuffer(device_.get(), block.buffer, nullptr);
  vkFreeMemory(device_.get(), block.memory, nullptr); // also unmaps
  if (budget_)
    budget_->used -= block.size;
}

int GpuArena::memory_type(std::uint32_t allowed, std::uint64_t bytes) const {
  const VkMemoryPropertyFlags local = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT,
                              visible = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT,
                              coherent = VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
                              cached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
  const bool unified = device_.limits().unified;
  // Per type: flags it must have, and what else is welcome (+) or not (-).
  const auto score = [&](VkMemoryPropertyFlags f) {
    const auto has = [f](VkMemoryPropertyFlags bits) { return (f & bits) == bits; };
    switch (kind_) {
    case Kind::device:
      return (has(local) ? 8 : 1) - (has(visible) ? (unified ? 0 : 1) : 0);
    case Kind::staging: // written once by the host, in order
      return has(visible | coherent) ? 4 + (has(local) == unified ? 2 : 0) + (has(cached) ? 0 : 1)
                                     : 0;
    case Kind::readback: // uncached host reads crawl
      return has(visible) ? 1 + (has(cached) ? 8 : 0) + (has(coherent) ? 2 : 0) +
                                (has(local) == unified ? 1 : 0)
                          : 0;
    }
    return 0;
  };
  const auto& memory = device_.memory();
  int best = -1, best_score = 0;
  for (std::uint32_t i = 0; i < memory.memoryTypeCount; ++i) {
    const auto& type = memory.memoryTypes[i];
    if (!(allowed & (1u << i)) || memory.memoryHeaps[type.heapIndex].size < bytes)
      continue;
    if (const int s = score(type.propertyFlags); s > best_score) {
      best = int(i);
      best_score = s;
    }
  }
  return best;
}

Result<GpuBlock*> GpuArena::add_block(std::uint64_t bytes) {
  auto block = std::make_unique<GpuBlock>();
  block->size = bytes;
  const auto full = [&](const std::string& why) {
    return Error{"out-of-memory", "The GPU has no room for " + size_text(bytes) + " more: " + why,
                 device_.physical().info.name};
  };
  if (budget_ && budget_->used + bytes > budget_->cap)
    return full(size_text(budget_->used) + " of the " + size_text(budget_->cap) +
                " allowed are in use");
  auto create = vk_struct<VkBufferCreateInfo>(VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO);
  create.size = bytes;
  create.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                 VK_BUFFER_USAGE_TRANSFER_DST_BIT;
  TRY(device_.check(vkCreateBuffer(device_.get(), &create, nullptr, &block->buffer),
                    "create a buffer"));
  VkMemoryRequirements need{};
  vkGetBufferMemoryRequirements(device_.get(), block->buffer, &need);
  const int type = memory_type(need.memoryTypeBits, need.size);
  auto allocate = vk_struct<VkMemoryAllocateInfo>(VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO);
  allocate.allocationSize = need.size;
  allocate.memoryTypeIndex = std::uint32_t(std::max(type, 0));
  VkResult r = type < 0 ? VK_ERROR_OUT_OF_DEVICE_MEMORY
                        : vkAllocateMemory(device_.get(), &allocate, nullptr, &block->memory);
  if (r >= 0)
    r = vkBindBufferMemory(device_.get(), block->buffer, block->memory, 0);
  if (r >= 0) {
    const auto flags = device_.memory().memoryTypes[allocate.memoryTypeIndex].propertyFlags;
    block->coherent = flags & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    void* mapped = nullptr;
    if (flags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT &&
        (kind_ != Kind::device || (device_.limits().unified && block->coherent)))
      r = vkMapMemory(device_.get(), block->memory, 0, VK_WHOLE_SIZE, 0, &mapped);
    block->mapped = static_cast<std::byte*>(mapped);
  }
  if (r < 0) {
    vkDestroyBuffer(device_.get(), block->buffer, nullptr);
    vkFreeMemory(device_.get(), block->memory, nullptr);
    TRY(r == VK_ERROR_OUT_OF_DEVICE_MEMORY || r == VK_ERROR_OUT_OF_HOST_MEMORY
            ? Result<void>(full("the driver refuses"))
            : device_.check(r, "allocate memory"));
  }
  if (budget_)
    budget_->used += bytes;
  block->free[0] = bytes;
  blocks_.push_back(std::move(block));
  return blocks_.back().get();
}

Result<GpuBuffer> GpuArena::allocate(std::uint64_t bytes) {
  bytes = align_up(std::max<std::uint64_t>(bytes, 1), gpu_alignment);
  const auto take = [&](GpuBlock& block) -> GpuSlice {
    for (auto it = block.free.begin(); it != block.free.end(); ++it) {
      const auto [at, room] = *it;
      if (room < bytes)
        continue;
      block.free.erase(it);
      if (room > bytes)
        block.free[at + bytes] = room - bytes;
      return {&block, at, bytes};
    }
    return {};
  };
  GpuSlice slice;
  for (auto& block : blocks_)
    if ((slice = take(*block)))
      break;
  if (!slice) {
    // A whole block where the budget has room for one, else just what is needed.
    std::uint64_t size = std::max(bytes, block_bytes_);
    if (budget_ && budget_->used + size > budget_->cap)
      size = bytes;
    Result<GpuBlock*> block = add_block(size);
    if (!block && size > bytes && block.error().code == "out-of-memory")
      block = add_block(bytes);
    if (!block)
      return std::move(block.error());
    slice = take(**block);
  }
  return GpuBuffer(slice, [this](GpuSlice s) { release(s); });
}

void GpuArena::release(GpuSlice slice) {
  auto& free = slice.block->free;
  auto [it, inserted] = free.emplace(slice.offset, slice.size);
  assert(inserted);
  if (const auto next = std::next(it);
      next != free.end() && it->first + it->second == next->first) {
    it->second += next->second;
    free.erase(next);
  }
  if (it != free.begin())
    if (const auto before = std::prev(it); before->first + before->second == it->first) {
      before->second += it->second;
      free.erase(it);
    }
}

void GpuArena::trim() {
  std::erase_if(blocks_, [this](std::unique_ptr<GpuBlock>& block) {
    const bool empty = block->free.size() == 1 && block->free.begin()->second == block->size;
    if (empty)
      destroy(*block);
    return empty;
  });
}

} // namespace bitlathe
