// SPDX-License-Identifier: Apache-2.0
// The pipeline cache on disk. A driver may crash on foreign cache data, so a file is used only when
// every field of its header fits this very driver; anything else is a miss, never an error.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace bitlathe {

struct PipelineFileKey {
  std::uint32_t vendor = 0, device = 0, driver = 0;
  std::array<std::uint8_t, 16> uuid{}; ///< pipelineCacheUUID
};

/// The driver's data inside `file`, or empty when any of it does not fit:
///   0 "BLPC"; 4 u32 version 1; 8 u32 vendor, device, driver; 20 u8 uuid[16]; 36 u64 size; 44 u64
///   FNV-1a of the data; 52 data
/// and the data itself starts with Vulkan's own header (length 32, version 1, vendor, device,
/// uuid).
std::span<const std::byte> checked_pipeline_data(std::span<const std::byte> file,
                                                 const PipelineFileKey& key);
std::vector<std::byte> wrap_pipeline_data(std::span<const std::byte> data,
                                          const PipelineFileKey& key);

std::filesystem::path pipeline_file_path(const std::filesystem::path& dir,
                                         const PipelineFileKey& key);
/// Empty when there is no such file.
std::vector<std::byte> read_pipeline_file(const std::filesystem::path& path);
/// Through a temporary file and a rename; failure is not reported (a cache).
void write_pipeline_file(const std::filesystem::path& path, std::span<const std::byte> content);

} // namespace bitlathe
