// SPDX-License-Identifier: Apache-2.0
// The tokenizer that a GGUF file carries ("tokenizer.ggml.*"), behaving as llama.cpp does with it.
// One file in gguf/ and one word in the CMake list for each "tokenizer.ggml.model".
#pragma once

#include "core/text/added_tokens.h"
#include "core/text/regex.h"
#include "core/text/tokenizer.h"
#include "core/text/vocabulary.h"

#include <memory>

namespace bitlathe::text {

struct GgufTokenizer;

/// What turns text between special tokens into ids.
class GgufModel {
 public:
  virtual ~GgufModel() = default;
  virtual std::string kind() const = 0; ///< "byte-bpe", "spm-bpe", "unigram", ...
  /// `after_special`: at the beginning of the input, or right behind a special token.
  virtual void encode(std::string_view text, bool after_special,
                      std::vector<std::int32_t>& out) const = 0;
  virtual std::string piece(const std::string& token) const = 0; ///< of a normal token
  /// Texts begin with a space that is not theirs.
  virtual bool adds_space() const { return false; }
};

struct GgufTokenizer final : Tokenizer {
  std::string where;
  GgufMetadata metadata; ///< the tokenizer.* keys as they were read
  std::vector<std::string> tokens;
  std::vector<TokenKind> kinds;
  std::vector<float> scores;
  Vocabulary vocabulary;
  std::unique_ptr<GgufModel> model;
  // A kind of model sets its defaults here, which the keys of the file then change.
  std::int32_t bos_id = -1, eos_id = -1, unk_id = -1, pad_id = -1, sep_id = -1;
  bool add_bos = false, add_eos = false, add_sep = false, add_space_prefix = false;
  bool strip_after_special = false; ///< Phi-3: spaces behind a special token belong to it
  std::string template_text;
  std::vector<std::string> remarks;
  TextTrie specials; ///< values are ids

  std::vector<std::int32_t> encode(std::string_view text,
                                   const EncodeOptions& options) const override;
  std::string decode(std::span<const std::int32_t> ids, bool skip_special) const override;
  std::string piece(std::int32_t id) const override;
  std::string kind() const override { return model->kind(); }
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
  std::vector<std::string> notes() const override { return remarks; }
  Result<GgufMetadata> to_gguf(std::int64_t rows) const override;

 private:
  std::vector<Piece> split(std::string_view text, bool parse_special) const;
};

Result<std::shared_ptr<const Tokenizer>> load_gguf_tokenizer(const GgufMetadata& metadata,
                                                             const std::string& where);

/// How llama.cpp treats text before byte-pair encoding under a "tokenizer.ggml.pre" name.
struct GgufPre {
  std::vector<std::string> patterns; ///< applied one after the other, each isolating its matches
  bool whole_words_first = false;
  bool add_bos = false; ///< when the file does not say
  bool bytes = true;    ///< tokens are spelled in GPT-2's byte alphabet, else in plain text
  bool marks = false;   ///< spaces are written as \u2581
};
const GgufPre* find_gguf_pre(std::string_view name);

/// "[PAD7]" and the like, for ids without a token; not among `taken`.
std::string filler_token(std::int64_t id, const Vocabulary& taken);

/// Spaces as \u2581, and back.
std::string with_marks(std::string_view text);
std::string with_spaces(std::string_view text);

const GgufArray* find_gguf_array(const GgufMetadata& metadata, std::string_view key);
Result<bool> gguf_flag(const GgufMetadata& metadata, std::string_view key, bool otherwise,
                       const std::string& where);

} // namespace bitlathe::text

namespace bitlathe {

struct GgufModelKind {
  const char* name; ///< tokenizer.ggml.model
  /// Called with tokens, kinds, scores and vocabulary in place; sets the defaults.
  Result<std::unique_ptr<text::GgufModel>> (*load)(text::GgufTokenizer& tokenizer);
};
std::span<const GgufModelKind* const> all_gguf_models();

} // namespace bitlathe
