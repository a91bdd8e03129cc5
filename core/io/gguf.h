// SPDX-License-Identifier: Apache-2.0
// The GGUF container, versions 2 and 3 (ggml-org/ggml, src/gguf.cpp): strict reader and writer.
// Types are named in lower case ("f32", "q4_0"); a type that cannot be decoded is still listed with
// its bytes, one whose id is unknown as "type 99".
#pragma once

#include "core/io/safetensors.h"

#include <variant>

namespace bitlathe {

struct GgufValue;
using GgufArray = std::vector<GgufValue>;
/// A metadata value. Arrays remember their element type even when empty.
struct GgufValue {
  std::uint32_t type = 0; ///< u8 0, i8 1, u16 2, i16 3, u32 4, i32 5, f32 6, bool 7, string 8,
                          ///< array 9, u64 10, i64 11, f64 12
  std::uint32_t element_type = 0;
  std::variant<std::uint64_t, std::int64_t, double, bool, std::string, std::shared_ptr<GgufArray>>
      value;

  static GgufValue u32(std::uint32_t v);
  static GgufValue f32(float v);
  static GgufValue boolean(bool v);
  static GgufValue string(std::string v);
  static GgufValue strings(const std::vector<std::string>& v);
  static GgufValue i32s(const std::vector<std::int32_t>& v);
  static GgufValue f32s(const std::vector<float>& v);

  /// Any integer type as int64; nullopt when it is none.
  std::optional<std::int64_t> as_int() const;
  std::optional<double> as_number() const;
  std::optional<std::string> as_string() const;
};
using GgufMetadata = std::vector<std::pair<std::string, GgufValue>>; ///< in file order
const GgufValue* find(const GgufMetadata& metadata, std::string_view key);

struct GgufType {
  std::string_view name;
  std::uint32_t id;
  int block;       ///< elements per block
  int block_bytes; ///< bytes per block
};
/// All types of the format that are not removed.
std::span<const GgufType> gguf_types();
const GgufType* find_gguf_type(std::string_view name);

struct GgufFile {
  GgufMetadata metadata;
  std::vector<StoredTensor> tensors; ///< dtype = type name, shape outermost first
  std::shared_ptr<const MappedFile> file;
};
Result<GgufFile> read_gguf(const fs::path& path);
/// One file as it will be written, checked against every rule that loaders check.
Result<FileToWrite> gguf_file(fs::path name, const GgufMetadata& metadata,
                              std::vector<TensorToWrite> tensors);
Result<void> write_gguf(const fs::path& path, const GgufMetadata& metadata,
                        std::vector<TensorToWrite> tensors, Feedback* feedback = nullptr);

} // namespace bitlathe
