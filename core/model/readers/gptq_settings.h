// SPDX-License-Identifier: Apache-2.0
// The quantization settings of GPTQ checkpoints: of config.json, or of the quantize_config.json
// beside it, with the overrides per module.
#pragma once

#include "core/base/json.h"

#include <optional>
#include <QRegularExpression>
#include <vector>

namespace bitlathe {

struct GptqSettings {
  int bits = 4;
  std::int64_t group = 0; ///< columns; 0: whole rows
  bool symmetric = true;
};

class GptqConfig {
 public:
  /// `settings` keeps the order of its keys, because the first matching expression decides.
  static Result<GptqConfig> parse(const OrderedJson& settings, const std::string& where);

  /// nullopt: the module is left out.
  std::optional<GptqSettings> find(const std::string& module) const;

  /// Stored zero points are one less than those meant ("gptq", not "gptq_v2").
  bool minus_one = true;
  /// One was taken off whole 32-bit words, not field by field, so that a zero point of 0 borrows
  /// from the next field: GPTQModel's way.
  bool by_word = false;

 private:
  struct Override {
    QRegularExpression expression;
    std::optional<GptqSettings> settings;
  };
  GptqSettings base_;
  std::vector<Override> overrides_;
};

} // namespace bitlathe
