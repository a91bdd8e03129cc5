// SPDX-License-Identifier: Apache-2.0
#include "kernels/gpu/pipeline.h"

#include "shaders/shaders.h"

#include <algorithm>
#include <cstring>

namespace bitlathe {

PipelineCache::PipelineCache(GpuDevice& device, std::string cache_dir)
    : device_(device), cache_dir_(std::move(cache_dir)) {
  const auto& p = device_.physical().properties;
  key_ = {p.vendorID, p.deviceID, p.driverVersion, {}};
  std::memcpy(key_.uuid.data(), p.pipelineCacheUUID, key_.uuid.size());
  std::vector<std::byte> file;
  std::span<const std::byte> data;
  if (!cache_dir_.empty()) {
    file = read_pipeline_file(pipeline_file_path(cache_dir_, key_));
    data = checked_pipeline_data(file, key_);
  }
  auto create = vk_struct<VkPipelineCacheCreateInfo>(VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO);
  create.initialDataSize = data.size();
  create.pInitialData = data.data();
  loaded_bytes_ = data.size();
  // Without a cache pipelines are only slower to make.
  if (vkCreatePipelineCache(device_.get(), &create, nullptr, &cache_) < 0)
    cache_ = VK_NULL_HANDLE;
}

PipelineCache::~PipelineCache() {
  save();
  for (const auto& [key, pipeline] : pipelines_)
    vkDestroyPipeline(device_.get(), pipeline, nullptr);
  for (const auto& [name, m] : modules_) {
    vkDestroyPipelineLayout(device_.get(), m.layout, nullptr);
    vkDestroyDescriptorSetLayout(device_.get(), m.set_layout, nullptr);
    vkDestroyShaderModule(device_.get(), m.module, nullptr);
  }
  vkDestroyPipelineCache(device_.get(), cache_, nullptr);
}

void PipelineCache::save() const {
  std::size_t size = 0;
  if (cache_dir_.empty() || !cache_ || device_.lost() || pipelines_.empty() ||
      vkGetPipelineCacheData(device_.get(), cache_, &size, nullptr) < 0 || size == loaded_bytes_)
    return;
  std::vector<std::byte> data(size);
  if (vkGetPipelineCacheData(device_.get(), cache_, &size, data.data()) != VK_SUCCESS)
    return;
  data.resize(size);
  write_pipeline_file(pipeline_file_path(cache_dir_, key_), wrap_pipeline_data(data, key_));
}

Result<const ShaderModule*> PipelineCache::module(std::string_view name) {
  if (const auto it = modules_.find(name); it != modules_.end())
    return &it->second;
  const auto shaders = all_shaders();
  const auto code = std::find_if(shaders.begin(), shaders.end(),
                                 [name](const ShaderCode& s) { return s.name == name; });
  assert(code != shaders.end() && "no such shader");
  ShaderModule m;
  TRY_ASSIGN(m.interface, reflect_spirv(code->words, name));
  assert(!m.interface.uses_float64 || device_.limits().float64);
  assert(!m.interface.uses_packed_dot || device_.limits().packed_dot);

  const std::vector<std::uint32_t> words =
      with_float_controls(code->words, device_.float_controls());
  // Inserted at once so that the destructor frees what a later step leaves behind.
  ShaderModule& stored = modules_[std::string(name)];
  stored.interface = m.interface;
  const auto fail = [&](Error error) -> Error {
    vkDestroyPipelineLayout(device_.get(), stored.layout, nullptr);
    vkDestroyDescriptorSetLayout(device_.get(), stored.set_layout, nullptr);
    vkDestroyShaderModule(device_.get(), stored.module, nullptr);
    modules_.erase(std::string(name));
    return error;
  };
  auto create = vk_struct<VkShaderModuleCreateInfo>(VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO);
  create.codeSize = words.size() * 4;
  create.pCode = words.data();
  const std::string what = "load the shader " + std::string(name);
  if (auto r = device_.check(vkCreateShaderModule(device_.get(), &create, nullptr, &stored.module),
                             what);
      !r)
    return fail(r.error());

  std::vector<VkDescriptorSetLayoutBinding> bindings(m.interface.bindings);
  for (std::uint32_t i = 0; i < bindings.size(); ++i)
    bindings[i] = {i, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
  auto set = vk_struct<VkDescriptorSetLayoutCreateInfo>(
      VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO);
  set.bindingCount = m.interface.bindings;
  set.pBindings = bindings.data();
  if (auto r = device_.check(
          vkCreateDescriptorSetLayout(device_.get(), &set, nullptr, &stored.set_layout), what);
      !r)
    return fail(r.error());

  VkPushConstantRange push{VK_SHADER_STAGE_COMPUTE_BIT, 0, m.interface.push_bytes};
  auto layout =
      vk_struct<VkPipelineLayoutCreateInfo>(VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO);
  layout.setLayoutCount = 1;
  layout.pSetLayouts = &stored.set_layout;
  layout.pushConstantRangeCount = m.interface.push_bytes ? 1 : 0;
  layout.pPushConstantRanges = &push;
  if (auto r = device_.check(
          vkCreatePipelineLayout(device_.get(), &layout, nullptr, &stored.layout), what);
      !r)
    return fail(r.error());
  return &stored;
}

Result<Pipeline> PipelineCache::get(std::string_view shader,
                                    std::span<const std::uint32_t> constants) {
  TRY_ASSIGN(const ShaderModule* m, module(shader));
  assert(constants.size() == m->interface.constants);
  std::pair<std::string, std::vector<std::uint32_t>> key{std::string(shader),
                                                         {constants.begin(), constants.end()}};
  if (const auto it = pipelines_.find(key); it != pipelines_.end())
    return Pipeline{it->second, m};

  std::vector<VkSpecializationMapEntry> entries(constants.size());
  for (std::uint32_t i = 0; i < entries.size(); ++i)
    entries[i] = {i, i * 4, 4};
  VkSpecializationInfo special{};
  special.mapEntryCount = std::uint32_t(entries.size());
  special.pMapEntries = entries.data();
  special.dataSize = constants.size_bytes();
  special.pData = constants.data();
  auto create =
      vk_struct<VkComputePipelineCreateInfo>(VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO);
  create.stage = vk_struct<VkPipelineShaderStageCreateInfo>(
      VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO);
  create.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  create.stage.module = m->module;
  create.stage.pName = "main";
  create.stage.pSpecializationInfo = &special;
  create.layout = m->layout;
  VkPipeline pipeline = VK_NULL_HANDLE;
  TRY(device_.check(vkCreateComputePipelines(device_.get(), cache_, 1, &create, nullptr, &pipeline),
                    "prepare the shader " + key.first));
  pipelines_.emplace(std::move(key), pipeline);
  return Pipeline{pipeline, m};
}

} // namespace bitlathe
