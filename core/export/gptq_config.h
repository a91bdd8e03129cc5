// SPDX-License-Identifier: Apache-2.0
// The quantization_config of GPTQ exports: settings of most modules, and "dynamic" for the others.
#pragma once

#include "core/export/exporter.h"

#include <map>
#include <tuple>

namespace bitlathe {

class GptqSummary {
 public:
  explicit GptqSummary(const std::vector<ExportModule>& modules);

  struct Kind {
    int bits = 4;
    std::int64_t group = 0; ///< 0: whole columns
    bool symmetric = true;
    bool operator<(const Kind& other) const {
      return std::tie(bits, group, symmetric) < std::tie(other.bits, other.group, other.symmetric);
    }
  };
  /// Modules of each kind; `base` is the one that the config names.
  const std::map<Kind, std::vector<const Module*>>& kinds() const { return kinds_; }
  const Kind& base() const { return base_; }
  /// Linear layers inside blocks that are left as they are.
  const std::vector<const Module*>& kept() const { return kept_; }
  /// Whether every block leaves the same ones.
  bool uniform() const { return uniform_; }
  bool ordered() const { return ordered_; }
  /// The name of a quantized head; empty: it is plain.
  const std::string& head() const { return head_; }
  /// Zero points as they are ("gptq_v2"), not less one: wherever one might be 0, because its way
  /// through version 1 differs between loaders.
  bool second_version() const { return second_version_; }

  Json config() const;

 private:
  std::string expression(const std::vector<const Module*>& modules) const;

  std::map<Kind, std::vector<const Module*>> kinds_;
  Kind base_;
  std::vector<const Module*> kept_, linears_;
  std::map<std::string, std::vector<std::string>> in_block_; ///< what a block quantizes, by block
  std::string head_;
  bool uniform_ = true, ordered_ = false, second_version_ = false;
};

} // namespace bitlathe
