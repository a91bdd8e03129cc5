// SPDX-License-Identifier: Apache-2.0
// Compute pipelines by {shader, specialisation constants}, made when first used.
#pragma once

#include "kernels/gpu/device.h"
#include "kernels/gpu/pipeline_file.h"
#include "kernels/gpu/spirv.h"

#include <map>
#include <string>
#include <vector>

namespace bitlathe {

struct ShaderModule {
  SpirvInterface interface;
  VkShaderModule module = VK_NULL_HANDLE;
  VkDescriptorSetLayout set_layout = VK_NULL_HANDLE;
  VkPipelineLayout layout = VK_NULL_HANDLE;
};
struct Pipeline {
  VkPipeline handle = VK_NULL_HANDLE;
  const ShaderModule* shader = nullptr;
};

class PipelineCache {
 public:
  PipelineCache(GpuDevice& device, std::string cache_dir);
  ~PipelineCache(); ///< writes the cache file when pipelines were added
  PipelineCache(const PipelineCache&) = delete;
  PipelineCache& operator=(const PipelineCache&) = delete;

  Result<Pipeline> get(std::string_view shader, std::span<const std::uint32_t> constants);

 private:
  Result<const ShaderModule*> module(std::string_view name);
  void save() const;

  GpuDevice& device_;
  std::string cache_dir_;
  PipelineFileKey key_;
  VkPipelineCache cache_ = VK_NULL_HANDLE;
  std::map<std::string, ShaderModule, std::less<>> modules_;
  std::map<std::pair<std::string, std::vector<std::uint32_t>>, VkPipeline> pipelines_;
  std::size_t loaded_bytes_ = 0;
};

} // namespace bitlathe
