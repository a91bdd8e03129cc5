// SPDX-License-Identifier: Apache-2.0
#include "kernels/gpu/pipeline_file.h"

#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <unistd.h>

namespace bitlathe {

namespace {

constexpr std::size_t header_bytes = 52, driver_header_bytes = 32;

std::uint64_t fnv1a(std::span<const std::byte> data) {
  std::uint64_t hash = 14695981039346656037ull;
  for (const std::byte b : data)
    hash = (hash ^ std::uint64_t(b)) * 1099511628211ull;
  return hash;
}

template <class T> T load(std::span<const std::byte> data, std::size_t at) {
  T value;
  std::memcpy(&value, data.data() + at, sizeof value);
  return value;
}

} // namespace

std::span<const std::byte> checked_pipeline_data(std::span<const std::byte> file,
                                                 const PipelineFileKey& key) {
  if (file.size() < header_bytes + driver_header_bytes ||
      std::memcmp(file.data(), "BLPC", 4) != 0 || load<std::uint32_t>(file, 4) != 1 ||
      load<std::uint32_t>(file, 8) != key.vendor || load<std::uint32_t>(file, 12) != key.device ||
      load<std::uint32_t>(file, 16) != key.driver ||
      std::memcmp(file.data() + 20, key.uuid.data(), 16) != 0)
    return {};
  const auto data = file.subspan(header_bytes);
  if (load<std::uint64_t>(file, 36) != data.size() || load<std::uint64_t>(file, 44) != fnv1a(data))
    return {};
  if (load<std::uint32_t>(data, 0) != driver_header_bytes || load<std::uint32_t>(data, 4) != 1 ||
      load<std::uint32_t>(data, 8) != key.vendor || load<std::uint32_t>(data, 12) != key.device ||
      std::memcmp(data.data() + 16, key.uuid.data(), 16) != 0)
    return {};
  return data;
}

std::vector<std::byte> wrap_pipeline_data(std::span<const std::byte> data,
                                          const PipelineFileKey& key) {
  std::vector<std::byte> out(header_bytes + data.size());
  const auto put = [&out](std::size_t at, const auto& value) {
    std::memcpy(out.data() + at, &value, sizeof value);
  };
  std::memcpy(out.data(), "BLPC", 4);
  put(4, std::uint32_t(1));
  put(8, key.vendor);
  put(12, key.device);
  put(16, key.driver);
  put(20, key.uuid);
  put(36, std::uint64_t(data.size()));
  put(44, fnv1a(data));
  if (!data.empty())
    std::memcpy(out.data() + header_bytes, data.data(), data.size());
  return out;
}

std::filesystem::path pipeline_file_path(const std::filesystem::path& dir,
                                         const PipelineFileKey& key) {
  char name[64];
  std::snprintf(name, sizeof name, "pipelines-%08x-%08x.bin", key.vendor, key.device);
  return dir / name;
}

std::vector<std::byte> read_pipeline_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  if (!in)
    return {};
  const std::streamoff size = in.tellg();
  if (size <= 0 || size > (256 << 20))
    return {};
  std::vector<std::byte> out(static_cast<std::size_t>(size));
  in.seekg(0);
  in.read(reinterpret_cast<char*>(out.data()), size);
  return in ? out : std::vector<std::byte>{};
}

void write_pipeline_file(const std::filesystem::path& path, std::span<const std::byte> content) {
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  auto temporary = path;
  temporary += std::to_string(::getpid());
  temporary += ".tmp";
  {
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    out.write(reinterpret_cast<const char*>(content.data()), std::streamsize(content.size()));
    out.close();
    if (!out) {
      std::filesystem::remove(temporary, error);
      return;
    }
  }
  std::filesystem::rename(temporary, path, error);
  if (error)
    std::filesystem::remove(temporary, error);
}

} // namespace bitlathe
