// SPDX-License-Identifier: Apache-2.0
// The safetensors container (huggingface/safetensors, safetensors/src/tensor.rs): reader with every
// check of the reference loader, and a streaming writer with its tensor order and alignment.
#pragma once

#include "core/io/files.h"

#include <functional>
#include <map>

namespace bitlathe {

/// One tensor of a container file. `data` points into the map.
struct StoredTensor {
  std::string name;
  std::string dtype; ///< container's own spelling: "F32", "BF16", "I8", ...; GGUF: "q4_0"
  std::vector<std::int64_t>
      shape; ///< outermost first (GGUF dimensions are reversed into this order)
  std::span<const std::byte> data;
  std::shared_ptr<const MappedFile> file;
};

/// Bits of one element of a safetensors dtype; 0 when unknown.
int safetensors_dtype_bits(std::string_view dtype);

struct SafetensorsFile {
  std::vector<StoredTensor> tensors; ///< in offset order
  std::map<std::string, std::string> metadata;
};
Result<SafetensorsFile> read_safetensors(const fs::path& path);
/// A folder with model.safetensors, or with shards listed in model.safetensors.index.json. Names in
/// the index that point outside the folder, missing shards, and tensors that the index and the
/// shards disagree on are errors.
Result<SafetensorsFile> read_safetensors_folder(const fs::path& folder);

/// A tensor to be written: bytes are asked for once, in file order, and may be produced piecewise.
struct TensorToWrite {
  std::string name, dtype;
  std::vector<std::int64_t> shape;
  std::uint64_t bytes = 0;
  std::function<Result<void>(OutputFile&)> write; ///< writes exactly `bytes` bytes
};
/// One file as it will be written, checked against the format's rules.
Result<FileToWrite> safetensors_file(fs::path name, std::vector<TensorToWrite> tensors,
                                     const std::map<std::string, std::string>& metadata);
/// model.safetensors, or shards of at most `shard_limit` bytes and the index as the last file.
/// Tensors of one module stay in one shard.
Result<std::vector<FileToWrite>>
safetensors_files(std::vector<TensorToWrite> tensors, std::uint64_t shard_limit,
                  const std::map<std::string, std::string>& metadata = {{"format", "pt"}});
/// Writes model.safetensors, or shards of at most `shard_limit` bytes with an index, into `folder`
/// (metadata format = pt). Shards are planned from sizes before a byte is written.
Result<void> write_safetensors_folder(const fs::path& folder, std::vector<TensorToWrite> tensors,
                                      std::uint64_t shard_limit, Feedback* feedback = nullptr);
/// One file.
Result<void> write_safetensors(const fs::path& path, std::vector<TensorToWrite> tensors,
                               const std::map<std::string, std::string>& metadata,
                               Feedback* feedback = nullptr);

} // namespace bitlathe
