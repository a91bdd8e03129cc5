// SPDX-License-Identifier: Apache-2.0
// Writer, with the tensor order and header padding of the reference writer, so that every tensor
// starts aligned to its element size.
#include "core/base/json.h"
#include "core/io/safetensors.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <set>

namespace bitlathe {

namespace {

/// Position of a dtype in the file: larger elements first.
std::size_t dtype_rank(std::string_view dtype) {
  static constexpr std::array<std::string_view, 22> order{
      "U64", "I64", "F64",     "C64",         "F32",         "U32",     "I32",     "BF16",
      "F16", "U16", "I16",     "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F8_E8M0", "F8_E4M3", "F8_E5M2",
      "I8",  "U8",  "F6_E3M2", "F6_E2M3",     "F4",          "BOOL"};
  return std::size_t(std::find(order.begin(), order.end(), dtype) - order.begin());
}

Error wrong(const TensorToWrite& tensor, const std::string& what, const fs::path& path) {
  return {"internal", "Tensor \"" + tensor.name + "\" " + what, path.string()};
}

} // namespace

Result<FileToWrite> safetensors_file(fs::path name, std::vector<TensorToWrite> tensors,
                                     const std::map<std::string, std::string>& metadata) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorToWrite& a, const TensorToWrite& b) {
    return std::pair(dtype_rank(a.dtype), std::string_view(a.name)) <
           std::pair(dtype_rank(b.dtype), std::string_view(b.name));
  });

  OrderedJson header = OrderedJson::object();
  if (!metadata.empty())
    header["__metadata__"] = metadata;
  std::set<std::string_view> names;
  std::uint64_t offset = 0;
  for (const auto& tensor : tensors) {
    const int bits = safetensors_dtype_bits(tensor.dtype);
    std::uint64_t elements = 1;
    for (const auto n : tensor.shape)
      elements *= std::uint64_t(n);
    if (bits == 0 || elements * std::uint64_t(bits) != tensor.bytes * 8)
      return wrong(
          tensor, "has " + std::to_string(tensor.bytes) + " bytes, not what its shape needs", name);
    if (!names.insert(tensor.name).second)
      return wrong(tensor, "is there twice", name);
    OrderedJson entry;
    entry["dtype"] = tensor.dtype;
    entry["shape"] = tensor.shape;
    entry["data_offsets"] = {offset, offset + tensor.bytes};
    offset += tensor.bytes;
    header[tensor.name] = std::move(entry);
  }
  auto text = header.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  if (text.size() > 100'000'000)
    return Error{"unsupported", "The header would be larger than safetensors files may have",
                 name.string()};

  const std::uint64_t bytes = 8 + text.size() + offset;
  return FileToWrite{name, bytes,
                     [name, text = std::move(text),
                      tensors = std::move(tensors)](OutputFile& file) -> Result<void> {
                       const std::uint64_t length = text.size();
                       TRY(file.write(std::as_bytes(std::span(&length, 1))));
                       TRY(file.write(std::as_bytes(std::span(text))));
                       for (const auto& tensor : tensors) {
                         const auto before = file.size();
                         TRY(tensor.write(file));
                         if (file.size() - before != tensor.bytes)
                           return wrong(tensor, "was written with a wrong number of bytes", name);
                       }
                       return {};
                     }};
}

Result<std::vector<FileToWrite>>
safetensors_files(std::vector<TensorToWrite> tensors, std::uint64_t shard_limit,
                  const std::map<std::string, std::string>& metadata) {
  const auto module_of = [](const std::string& name) {
    const auto dot = name.rfind('.');
    return dot == std::string::npos ? name : name.substr(0, dot);
  };

  std::vector<std::vector<TensorToWrite>> shards(1);
  std::uint64_t total = 0, in_shard = 0;
  for (std::size_t i = 0; i < tensors.size();) {
    std::size_t end = i;
    std::uint64_t bytes = 0;
    for (; end < tensors.size() && module_of(tensors[end].name) == module_of(tensors[i].name);
         ++end)
      bytes += tensors[end].bytes;
    if (in_shard > 0 && in_shard + bytes > shard_limit) {
      shards.emplace_back();
      in_shard = 0;
    }
    in_shard += bytes;
    total += bytes;
    for (; i < end; ++i)
      shards.back().push_back(std::move(tensors[i]));
  }
  std::vector<FileToWrite> out;
  if (shards.size() == 1) {
    TRY_ASSIGN(auto file, safetensors_file("model.safetensors", std::move(shards[0]), metadata));
    out.push_back(std::move(file));
    return out;
  }

  OrderedJson index, weight_map = OrderedJson::object();
  std::map<std::string, std::string> file_of; // sorted by tensor name
  for (std::size_t i = 0; i < shards.size(); ++i) {
    std::array<char, 64> name{};
    std::snprintf(name.data(), name.size(), "model-%05zu-of-%05zu.safetensors", i + 1,
                  shards.size());
    for (const auto& tensor : shards[i])
      if (!file_of.emplace(tensor.name, name.data()).second)
        return wrong(tensor, "is there twice", name.data());
    TRY_ASSIGN(auto file, safetensors_file(name.data(), std::move(shards[i]), metadata));
    out.push_back(std::move(file));
  }
  for (const auto& [tensor, file] : file_of)
    weight_map[tensor] = file;
  index["metadata"]["total_size"] = total;
  index["weight_map"] = std::move(weight_map);
  out.push_back(text_file("model.safetensors.index.json", index.dump(2) + "\n"));
  return out;
}

Result<void> write_safetensors(const fs::path& path, std::vector<TensorToWrite> tensors,
                               const std::map<std::string, std::string>& metadata,
                               Feedback* feedback) {
  TRY_ASSIGN(auto file, safetensors_file(path, std::move(tensors), metadata));
  return write_files({}, {std::move(file)}, feedback);
}

Result<void> write_safetensors_folder(const fs::path& folder, std::vector<TensorToWrite> tensors,
                                      std::uint64_t shard_limit, Feedback* feedback) {
  TRY_ASSIGN(const auto files, safetensors_files(std::move(tensors), shard_limit));
  return write_files(folder, files, feedback);
}

} // namespace bitlathe
