// SPDX-License-Identifier: Apache-2.0
// What the rules of GPTQ and AWQ folders share: the files as they are, whoever wrote them, and
// lists of what breaks a rule.
#pragma once

#include "core/export/exporter.h"

#include <map>

namespace bitlathe {

/// The tensors of one module by what follows its name.
using PackedParts = std::map<std::string, const StoredTensor*>;

struct PackedFolder {
  OrderedJson config, settings; ///< settings: the quantization_config; null when there is none
  OrderedJson beside;           ///< quantize_config.json; null when there is none
  SafetensorsFile file;
  std::map<std::string, PackedParts> modules;

  bool packed(const PackedParts& parts) const;
  /// Names of modules with and without packed codes; the latter are matrices.
  std::vector<std::string> packed_names() const, plain_names() const;
};
/// Not movable: parts point into `file`.
Result<std::unique_ptr<PackedFolder>> read_packed_folder(const fs::path& path);

/// One rule and what breaks it.
class PackedRule {
 public:
  PackedRule(std::string name, std::string good) : name_(std::move(name)), good_(std::move(good)) {}
  void broken(std::string what) { broken_.push_back(std::move(what)); }
  VerifyCheck check() const;
  /// As a remark: what it lists breaks no rule of the format.
  VerifyCheck remark() const;

 private:
  std::string name_, good_;
  std::vector<std::string> broken_;
};

/// "NAME is [1, 2] F16 instead of [2, 2] I32", or nothing when it is as wanted. Several types may
/// be given with bars between them.
void expect_packed(PackedRule& rule, const std::string& name, const StoredTensor& tensor,
                   const std::vector<std::int64_t>& shape, std::string_view types);
/// A field of a row of words that is a dense stream.
std::uint32_t packed_field(const StoredTensor& words, std::int64_t row, std::int64_t index,
                           int bits);
/// Lists scales that are no finite numbers.
void check_packed_scales(PackedRule& rule, const std::string& module, const StoredTensor& scales);
/// Whether some part of a module's name is a number: it stands in a list of blocks. Then also the
/// name within the block.
std::string name_in_block(const std::string& module);
/// Parts that vLLM runs as one matrix, of the modules given, by a name for the whole.
std::map<std::string, std::vector<std::string>>
joined_layers(const std::vector<std::string>& modules);

} // namespace bitlathe
