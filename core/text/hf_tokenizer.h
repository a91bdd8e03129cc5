// SPDX-License-Identifier: Apache-2.0
// A tokenizer.json, ready to use.
#pragma once

#include "core/text/added_tokens.h"
#include "core/text/bpe.h"
#include "core/text/tokenizer.h"

namespace bitlathe::text {

struct HfTokenizer final : Tokenizer {
  std::string where; ///< the tokenizer.json
  Bpe bpe;
  AddedTokens added;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  Decoder decoder;
  std::vector<std::string> tokens; ///< by id; empty where there is none
  std::vector<TokenKind> kinds;
  std::vector<std::int32_t> prefix, suffix; ///< what the template puts around a text
  std::int32_t bos_id = -1, eos_id = -1, unk_id = -1, pad_id = -1;
  std::string template_text;
  // What to_gguf needs to know of the file.
  Json normalizer_json, pre_tokenizer_json;
  std::vector<std::pair<std::string, std::string>> merge_list;
  bool byte_level = false; ///< tokens are spelled in GPT-2's byte alphabet

  std::vector<std::int32_t> encode(std::string_view text,
                                   const EncodeOptions& options) const override;
  std::string decode(std::span<const std::int32_t> ids, bool skip_special) const override;
  std::string piece(std::int32_t id) const override;
  std::string kind() const override { return byte_level ? "byte-bpe" : "spm-bpe"; }
  std::int64_t vocab_size() const override { return std::int64_t(tokens.size()); }
  std::string token(std::int32_t id) const override;
  TokenKind token_kind(std::int32_t id) const override;
  std::int32_t bos() const override { return bos_id; }
  std::int32_t eos() const override { return eos_id; }
  std::int32_t unk() const override { return unk_id; }
  std::int32_t pad() const override { return pad_id; }
  bool adds_bos() const override;
  bool adds_eos() const override;
  std::string chat_template() const override { return template_text; }
  Result<GgufMetadata> to_gguf(std::int64_t rows) const override;
  std::vector<std::string> gguf_notes() const override;
};

Result<std::shared_ptr<const Tokenizer>> load_hf_tokenizer(const std::filesystem::path& folder);

} // namespace bitlathe::text
