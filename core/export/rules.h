// SPDX-License-Identifier: Apache-2.0
// What loaders check of the files themselves, whoever wrote them. Nothing here goes through this
// program's readers: what they refuse is explained here too.
#pragma once

#include "core/base/json.h"
#include "core/export/exporter.h"

#include <map>
#include <set>

namespace bitlathe {

/// Problems of one kind, which become one check.
struct RuleProblems {
  std::vector<std::string> list;
  void add(std::string text) { list.push_back(std::move(text)); }
  VerifyCheck check(std::string name, std::string good) const;
};

/// The header of a safetensors file, as far as it can be understood.
struct RawTensor {
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0, end = 0;
};
struct RawSafetensors {
  std::map<std::string, RawTensor> tensors;
  std::map<std::string, std::string> metadata;
  std::vector<std::string> problems; ///< what the reference loader refuses
};
RawSafetensors read_raw_safetensors(const fs::path& file);

/// A Hugging Face folder: every file of it, the index, and what configuration and tensors say of
/// each other. `path` may be one file.
struct RawFolder {
  std::map<std::string, RawTensor> tensors; ///< of all files that count
  Json config;                              ///< null when there is none
  std::vector<VerifyCheck> checks;
};
RawFolder read_raw_folder(const fs::path& path);

/// The format that a path claims to be, as Exporter::id; empty when it is no checkpoint.
std::string claimed_format(const fs::path& path);

/// The rules of the container and of the format's loaders together.
std::vector<VerifyCheck> loader_rules(const fs::path& path, const Exporter* exporter);

std::vector<VerifyCheck> gguf_rules(const fs::path& path);

} // namespace bitlathe
