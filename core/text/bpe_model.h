// SPDX-License-Identifier: Apache-2.0
// Byte-pair encoding as a model of a tokenizer.json.
#pragma once

#include "core/text/bpe.h"
#include "core/text/model.h"

namespace bitlathe::text {

struct BpeModel final : TokenModel {
  Bpe bpe;
  std::vector<std::pair<std::string, std::string>> merge_list; ///< in rank order

  std::string kind(bool byte_level) const override { return byte_level ? "byte-bpe" : "spm-bpe"; }
  void encode(std::string_view piece, std::vector<std::int32_t>& out) const override {
    bpe.encode(piece, out);
  }
  std::int32_t find(std::string_view token) const override { return bpe.find(token); }
  std::int32_t unknown() const override { return bpe.unknown; }
  Result<GgufPlan> plan_gguf(const HfTokenizer& tokenizer) const override;
  std::vector<float> scores(const TokenList& list) const override;
};

} // namespace bitlathe::text
