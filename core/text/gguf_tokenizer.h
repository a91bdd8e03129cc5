// SPDX-License-Identifier: Apache-2.0
// The tokenizer that a GGUF file carries ("tokenizer.ggml.*"), behaving as llama.cpp does with it.
#pragma once

#include "core/text/added_tokens.h"
#include "core/text/bpe.h"
#include "core/text/tokenizer.h"

#include <unordered_set>

namespace bitlathe::text {

struct GgufTokenizer final : Tokenizer {
  std::string where;
  GgufMetadata metadata; ///< the tokenizer.* keys as they were read
  bool spm = false;      ///< "llama": merges by score; else "gpt2": merges by rank
  std::vector<std::string> tokens;
  std::vector<TokenKind> kinds;
  std::vector<float> scores;
  std::int32_t bos_id = -1, eos_id = -1, unk_id = -1, pad_id = -1;
  bool add_bos = false, add_eos = false, add_space_prefix = false;
  bool strip_after_special = false; ///< Phi-3: spaces behind a special token belong to it
  std::string template_text;

  Bpe bpe; ///< spm: only its vocabulary
  PreTokenizer pre_tokenizer;
  std::size_t longest_token = 0;
  std::int32_t byte_tokens[256];
  TextTrie specials;                        ///< values are ids
  std::unordered_set<std::uint64_t> joints; ///< spm: characters side by side in some token

  std::vector<std::int32_t> encode(std::string_view text,
                                   const EncodeOptions& options) const override;
  std::string decode(std::span<const std::int32_t> ids, bool skip_special) const override;
  std::string piece(std::int32_t id) const override;
  std::string kind() const override { return spm ? "spm-bpe" : "byte-bpe"; }
  std::int64_t vocab_size() const override { return std::int64_t(tokens.size()); }
  std::string token(std::int32_t id) const override;
  TokenKind token_kind(std::int32_t id) const override;
  std::int32_t bos() const override { return bos_id; }
  std::int32_t eos() const override { return eos_id; }
  std::int32_t unk() const override { return unk_id; }
  std::int32_t pad() const override { return pad_id; }
  bool adds_bos() const override { return add_bos; }
  bool adds_eos() const override { return add_eos; }
  std::string chat_template() const override { return template_text; }
  Result<GgufMetadata> to_gguf(std::int64_t rows) const override;

 private:
  std::vector<Piece> split(std::string_view text, bool parse_special) const;
  struct Symbol {
    std::size_t begin, size; ///< size 0: merged into its left neighbour
    std::int32_t previous, next;
  };
  void encode_spm(std::string_view text, std::vector<std::int32_t>& out) const;
  void merge_spm(std::string_view text, std::vector<Symbol>& symbols, bool& unknown_before,
                 std::vector<std::int32_t>& out) const;
  void encode_bpe(std::string_view text, std::vector<std::int32_t>& out) const;
};

Result<std::shared_ptr<const Tokenizer>> load_gguf_tokenizer(const GgufMetadata& metadata,
                                                             const std::string& where);

/// How llama.cpp treats text before byte-pair encoding under a "tokenizer.ggml.pre" name.
struct GgufPre {
  std::vector<std::string> patterns; ///< applied one after the other, each isolating its matches
  bool whole_words_first = false;
  bool add_bos = false; ///< when the file does not say
};
const GgufPre* find_gguf_pre(std::string_view name);

/// "[PAD7]" and the like, for ids without a token; not among `taken`.
std::string filler_token(std::int64_t id, const Vocabulary& taken);

} // namespace bitlathe::text
