// SPDX-License-Identifier: Apache-2.0
// What a file is by its first bytes, whatever it is called.
#pragma once

#include "core/io/files.h"

#include <optional>

namespace bitlathe {

/// "safetensors", "gguf", "ggml" (before GGUF), "pytorch" (pickle, bare or in a zip), "numpy",
/// "zip", "hdf5", "onnx", "tar", "lfs" (a pointer that git left in place of the file), "html",
/// "json", "text", "empty", "unknown"; "none" when it is no readable regular file.
std::string_view content_kind(const fs::path& path);

/// The first `count` bytes of a regular file; fewer when it is shorter, none when it cannot be
/// read.
std::string first_bytes(const fs::path& path, std::size_t count);

/// What stands at the beginning of a GGUF file, read without the long lists in it.
struct GgufPeek {
  std::string architecture, name, type;    ///< general.*
  std::optional<std::int64_t> file_type;   ///< general.file_type
  std::int64_t parts = 1;                  ///< split.count
  std::uint64_t tensors = 0, metadata = 0; ///< what the header claims
};
std::optional<GgufPeek> peek_gguf(const fs::path& path);
/// "Q4_K_M" of general.file_type 15; empty when unknown.
std::string_view gguf_file_type_name(std::int64_t file_type);
/// The quantization that a file's name ends in: "Q4_K_M" of "Llama-3.2-1B.Q4_K_M.gguf"; may be
/// empty.
std::string quant_of_name(const std::string& file_name);

/// False for what cannot be looked at, too.
bool is_folder(const fs::path& path);
bool is_file(const fs::path& path);

/// "-00002-of-00005" at the end of a name without its extension: part 2 of 5.
struct SplitName {
  std::string base;
  int part = 0, parts = 0;
};
std::optional<SplitName> split_name(const fs::path& path);
/// The name of another part.
std::string part_name(const SplitName& name, int part, const std::string& extension);

} // namespace bitlathe
