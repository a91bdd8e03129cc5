// SPDX-License-Identifier: Apache-2.0
#include "kernels/gpu/queue.h"

#include <algorithm>

namespace bitlathe {

namespace {
constexpr std::uint32_t max_groups_per_axis = 65535;
constexpr std::uint32_t max_bindings = 8; ///< of one shader
} // namespace

Result<std::unique_ptr<GpuQueue>> GpuQueue::create(GpuDevice& device, std::uint64_t lose_after) {
  std::unique_ptr<GpuQueue> out(new GpuQueue(device, lose_after));
  for (auto& slot : out->slots_)
    TRY(out->make(slot));
  return out;
}

Result<void> GpuQueue::make(Slot& slot) {
  auto pool = vk_struct<VkCommandPoolCreateInfo>(VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO);
  pool.flags = VK_COMMAND_POOL_CREATE_TRANSIENT_BIT;
  pool.queueFamilyIndex = device_.physical().queue_family;
  TRY(device_.check(vkCreateCommandPool(device_.get(), &pool, nullptr, &slot.commands),
                    "create a command pool"));
  auto allocate =
      vk_struct<VkCommandBufferAllocateInfo>(VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO);
  allocate.commandPool = slot.commands;
  allocate.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
  allocate.commandBufferCount = 1;
  TRY(device_.check(vkAllocateCommandBuffers(device_.get(), &allocate, &slot.buffer),
                    "create a command buffer"));
  const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, max_dispatches * max_bindings};
  auto descriptors =
      vk_struct<VkDescriptorPoolCreateInfo>(VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO);
  descriptors.maxSets = max_dispatches;
  descriptors.poolSizeCount = 1;
  descriptors.pPoolSizes = &size;
  TRY(device_.check(vkCreateDescriptorPool(device_.get(), &descriptors, nullptr, &slot.descriptors),
                    "create descriptors"));
  const VkFenceCreateInfo fence{VK_STRUCTURE_TYPE_FENCE_CREATE_INFO, nullptr, 0};
  return device_.check(vkCreateFence(device_.get(), &fence, nullptr, &slot.fence),
                       "create a fence");
}

GpuQueue::~GpuQueue() {
  abandon();
  for (auto& slot : slots_) {
    slot.held.clear();
    vkDestroyFence(device_.get(), slot.fence, nullptr);
    vkDestroyDescriptorPool(device_.get(), slot.descriptors, nullptr);
    vkDestroyCommandPool(device_.get(), slot.commands, nullptr);
  }
}

Result<void> GpuQueue::wait(Slot& slot, bool consume) {
  Result<void> out;
  if (slot.in_flight) {
    out = device_.check(vkWaitForFences(device_.get(), 1, &slot.fence, VK_TRUE, UINT64_MAX),
                        "finish its work");
    // What was submitted before a loss (real or pretended) is not trusted.
    if (out.ok() && device_.lost())
      out = device_.mark_lost();
    slot.in_flight = false;
    if (out.ok())
      out = device_.check(vkResetFences(device_.get(), 1, &slot.fence), "reset a fence");
  }
  if (out.ok() && consume)
    for (auto& r : slot.readbacks) {
      if (!r.slice.block->coherent) {
        auto range = vk_struct<VkMappedMemoryRange>(VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE);
        range.memory = r.slice.block->memory;
        range.size = VK_WHOLE_SIZE;
        vkInvalidateMappedMemoryRanges(device_.get(), 1, &range);
      }
      r.consume(r.slice.block->mapped + r.slice.offset);
    }
  slot.readbacks.clear();
  slot.copies_at_end.clear();
  slot.held.clear();
  return out;
}

Result<void> GpuQueue::begin() {
  assert(!open_);
  if (device_.lost())
    return device_.mark_lost();
  Slot& slot = slots_[next_];
  TRY(wait(slot, true));
  slot.work = 0;
  slot.dispatches = 0;
  TRY(device_.check(vkResetCommandPool(device_.get(), slot.commands, 0), "reset commands"));
  TRY(device_.check(vkResetDescriptorPool(device_.get(), slot.descriptors, 0),
                    "reset descriptors"));
  auto begin = vk_struct<VkCommandBufferBeginInfo>(VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO);
  begin.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT;
  TRY(device_.check(vkBeginCommandBuffer(slot.buffer, &begin), "begin commands"));
  open_ = &slot;
  next_ = (next_ + 1) % slots_.size();
  return {};
}

void GpuQueue::barrier() {
  auto all = vk_struct<VkMemoryBarrier>(VK_STRUCTURE_TYPE_MEMORY_BARRIER);
  all.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
  all.dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT |
                      VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
  const VkPipelineStageFlags stages =
      VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
  vkCmdPipelineBarrier(open_->buffer, stages, stages, 0, 1, &all, 0, nullptr, 0, nullptr);
}

Result<void> GpuQueue::submit() {
  assert(open_);
  for (const Copy& c : open_->copies_at_end)
    copy(c.from, c.to, c.bytes);
  Slot& slot = *std::exchange(open_, nullptr);
  slot.copies_at_end.clear();
  auto host = vk_struct<VkMemoryBarrier>(VK_STRUCTURE_TYPE_MEMORY_BARRIER);
  host.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
  host.dstAccessMask = VK_ACCESS_HOST_READ_BIT;
  vkCmdPipelineBarrier(slot.buffer,
                       VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
                       VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &host, 0, nullptr, 0, nullptr);
  TRY(device_.check(vkEndCommandBuffer(slot.buffer), "record commands"));
  if (lose_after_ && submissions_ >= lose_after_)
    return device_.mark_lost();
  ++submissions_;
  auto submit = vk_struct<VkSubmitInfo>(VK_STRUCTURE_TYPE_SUBMIT_INFO);
  submit.commandBufferCount = 1;
  submit.pCommandBuffers = &slot.buffer;
  TRY(device_.check(vkQueueSubmit(device_.queue(), 1, &submit, slot.fence), "start its work"));
  slot.in_flight = true;
  return {};
}

Result<void> GpuQueue::finish() {
  if (open_)
    TRY(submit());
  for (std::size_t i = 0; i < slots_.size(); ++i) // oldest first
    TRY(wait(slots_[(next_ + i) % slots_.size()], true));
  return {};
}

void GpuQueue::abandon() {
  if (open_)
    vkEndCommandBuffer(std::exchange(open_, nullptr)->buffer);
  for (auto& slot : slots_)
    (void)wait(slot, false);
}

GpuSlice GpuQueue::hold(GpuBuffer buffer) {
  open_->held.push_back(std::move(buffer));
  return open_->held.back().slice();
}

void GpuQueue::on_done(GpuSlice mapped, std::function<void(const std::byte*)> consume) {
  assert(mapped.block->mapped);
  open_->readbacks.push_back({mapped, std::move(consume)});
}

void GpuQueue::copy(const GpuSlice& from, const GpuSlice& to, std::uint64_t bytes) {
  barrier();
  const VkBufferCopy region{from.offset, to.offset, bytes};
  vkCmdCopyBuffer(open_->buffer, from.block->buffer, to.block->buffer, 1, &region);
}

void GpuQueue::copy_at_end(const GpuSlice& from, const GpuSlice& to, std::uint64_t bytes) {
  open_->copies_at_end.push_back({from, to, bytes});
}

void GpuQueue::clear(const GpuSlice& slice) {
  barrier();
  vkCmdFillBuffer(open_->buffer, slice.block->buffer, slice.offset, slice.size, 0);
}

Result<void> GpuQueue::dispatch(const Pipeline& pipeline, const GpuDispatch& d) {
  const SpirvInterface& shape = pipeline.shader->interface;
  assert(d.bindings.size() == shape.bindings && shape.bindings <= max_bindings);
  assert(d.push.size() == shape.push_bytes);
  assert(open_->dispatches < max_dispatches && d.groups > 0);
  auto allocate =
      vk_struct<VkDescriptorSetAllocateInfo>(VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO);
  allocate.descriptorPool = open_->descriptors;
  allocate.descriptorSetCount = 1;
  allocate.pSetLayouts = &pipeline.shader->set_layout;
  VkDescriptorSet set = VK_NULL_HANDLE;
  TRY(device_.check(vkAllocateDescriptorSets(device_.get(), &allocate, &set),
                    "bind memory to a shader"));
  std::array<VkDescriptorBufferInfo, max_bindings> buffers;
  std::array<VkWriteDescriptorSet, max_bindings> writes;
  for (std::uint32_t i = 0; i < d.bindings.size(); ++i) {
    const GpuSlice& slice = d.bindings[i];
    assert(slice && slice.offset % gpu_alignment == 0 && slice.size > 0 &&
           slice.size <= device_.limits().max_range);
    buffers[i] = {slice.block->buffer, slice.offset, slice.size};
    writes[i] = vk_struct<VkWriteDescriptorSet>(VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET);
    writes[i].dstSet = set;
    writes[i].dstBinding = i;
    writes[i].descriptorCount = 1;
    writes[i].descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
    writes[i].pBufferInfo = &buffers[i];
  }
  vkUpdateDescriptorSets(device_.get(), std::uint32_t(d.bindings.size()), writes.data(), 0,
                         nullptr);
  if (!d.independent)
    barrier();
  VkCommandBuffer commands = open_->buffer;
  vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.handle);
  vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.shader->layout, 0, 1,
                          &set, 0, nullptr);
  if (shape.push_bytes)
    vkCmdPushConstants(commands, pipeline.shader->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                       shape.push_bytes, d.push.data());
  const std::uint64_t x = std::min<std::uint64_t>(d.groups, max_groups_per_axis);
  const std::uint64_t y = (d.groups + x - 1) / x;
  assert(y <= max_groups_per_axis);
  vkCmdDispatch(commands, std::uint32_t(x), std::uint32_t(y), 1);
  open_->work += d.work;
  ++open_->dispatches;
  return {};
}

} // namespace bitlathe
