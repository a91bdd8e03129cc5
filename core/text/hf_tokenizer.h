// SPDX-License-Identifier: Apache-2.0
// A tokenizer of the Hugging Face library, ready to use: a tokenizer.json, or other files that say
// the same.
#pragma once

#include "core/text/added_tokens.h"
#include "core/text/model.h"
#include "core/text/token_list.h"
#include "core/text/tokenizer.h"

namespace bitlathe::text {

struct HfTokenizer final : Tokenizer {
  std::string where; ///< the file it comes from
  std::unique_ptr<TokenModel> model;
  TokenList list; ///< the model's tokens and the added ones
  AddedTokens added;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  Decoder decoder;
  std::vector<std::int32_t> prefix, suffix; ///< what the template puts around a text
  std::int32_t bos_id = -1, eos_id = -1, unk_id = -1, pad_id = -1;
  std::int32_t sep_id = -1, cls_id = -1, mask_id = -1;
  std::string template_text;
  std::vector<std::string> remarks;
  // What to_gguf needs to know of the file.
  Json normalizer_json, pre_tokenizer_json;
  /// SentencePiece: only the beginning of the input gets a space in front, not what follows a
  /// special token.
  bool prefix_first_only = false;
  bool byte_level = false; ///< tokens are spelled in GPT-2's byte alphabet

  std::vector<std::int32_t> encode(std::string_view text,
                                   const EncodeOptions& options) const override;
  std::string decode(std::span<const std::int32_t> ids, bool skip_special) const override;
  std::string piece(std::int32_t id) const override;
  std::string kind() const override { return model->kind(byte_level); }
  std::int64_t vocab_size() const override { return std::int64_t(list.size()); }
  std::string token(std::int32_t id) const override;
  TokenKind token_kind(std::int32_t id) const override;
  std::int32_t bos() const override { return bos_id; }
  std::int32_t eos() const override { return eos_id; }
  std::int32_t unk() const override { return unk_id; }
  std::int32_t pad() const override { return pad_id; }
  bool adds_bos() const override;
  bool adds_eos() const override;
  std::string chat_template() const override { return template_text; }
  std::vector<std::string> notes() const override { return remarks; }
  Result<GgufMetadata> to_gguf(std::int64_t rows) const override;
  std::vector<std::string> gguf_notes() const override;
  /// The id of a text, whether added or the model's; -1: none.
  std::int32_t find(std::string_view token) const;
};

Result<std::shared_ptr<const Tokenizer>> load_hf_tokenizer(const std::filesystem::path& folder);

/// Fills `t` from the members of a tokenizer.json.
Result<void> load_tokenizer_json(HfTokenizer& t, const Json& root);
/// Reads tokenizer_config.json, special_tokens_map.json, config.json and the chat template.
Result<void> load_tokenizer_config(HfTokenizer& t, const std::filesystem::path& folder,
                                   bool has_post_processor);
/// The "post_processor" of a tokenizer.json.
Result<void> load_post_processor(HfTokenizer& t, const Json& json);
/// Makes a token known to the text splitter; its id is the vocabulary's, else the one given, else
/// the next free one.
Result<void> add_token(HfTokenizer& t, AddedToken token);

} // namespace bitlathe::text
