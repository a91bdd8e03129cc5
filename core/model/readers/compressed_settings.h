// SPDX-License-Identifier: Apache-2.0
// The quantization_config of a compressed-tensors folder: which settings apply to which module.
#pragma once

#include "core/base/json.h"

#include <memory>
#include <string>
#include <vector>

namespace bitlathe {

struct CompressedSettings {
  int bits = 0;
  bool floats = false; ///< f8_e4m3 (8 bits) or E2M1 (4 bits)
  bool symmetric = true;
  std::string strategy; ///< "tensor", "channel", "group", "block", "tensor_group"
  std::int64_t group = 0;
  std::int64_t block_rows = 0, block_cols = 0; ///< of strategy "block"
  std::string format;                          ///< "pack-quantized", ...
  bool ordered = false;                        ///< columns have groups of their own: actorder
  std::string activations = "none";
  std::string float_inputs; ///< activation settings that are not run here: inputs stay floats
};

class CompressedConfig {
 public:
  static Result<CompressedConfig> parse(const Json& quantization_config, const std::string& where);
  ~CompressedConfig();
  CompressedConfig(CompressedConfig&&) noexcept;
  CompressedConfig& operator=(CompressedConfig&&) noexcept;

  /// nullptr when no group covers the module or it is to be ignored. Names first, then
  /// expressions, then classes.
  const CompressedSettings* find(const std::string& module) const;
  bool ignored(const std::string& module) const;

 private:
  CompressedConfig();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

} // namespace bitlathe
