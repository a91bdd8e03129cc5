// SPDX-License-Identifier: Apache-2.0
// Tokenizers: what the Hugging Face library, SentencePiece and tiktoken read, and what GGUF files
// carry. Text is UTF-8 bytes; invalid bytes are encoded as the reference
// implementation does after replacing them by U+FFFD.
#pragma once

#include "core/base/json.h"
#include "core/io/gguf.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace bitlathe {

enum class TokenKind {
  normal = 1,
  unknown = 2,
  control = 3,
  user_defined = 4,
  unused = 5,
  byte = 6
};

struct EncodeOptions {
  bool add_special = true;    ///< BOS/EOS as the tokenizer's template says
  bool parse_special = false; ///< recognise special-token text ("<s>") in the input
};

class Tokenizer {
 public:
  /// From a folder, in this order: tokenizer.json, tokenizer.model (SentencePiece or tiktoken),
  /// vocab.json with merges.txt, vocab.txt, another *.tiktoken or *.model; with what
  /// tokenizer_config.json and its kin say. Or from one of these files.
  static Result<std::shared_ptr<const Tokenizer>> from_folder(const std::filesystem::path& folder);
  static Result<std::shared_ptr<const Tokenizer>> from_gguf(const GgufMetadata& metadata,
                                                            const std::string& where);
  virtual ~Tokenizer() = default;

  virtual std::vector<std::int32_t> encode(std::string_view text,
                                           const EncodeOptions& options = {}) const = 0;
  /// Bytes; may end inside a UTF-8 sequence when the ids do.
  virtual std::string decode(std::span<const std::int32_t> ids, bool skip_special = true) const = 0;
  /// Bytes that one token adds to running text (no leading-space stripping); for streaming display.
  virtual std::string piece(std::int32_t id) const = 0;

  virtual std::string kind() const = 0; ///< "byte-bpe", "spm-bpe", "unigram", "wordpiece", ...
  virtual std::int64_t vocab_size() const = 0;          ///< highest id + 1
  virtual std::string token(std::int32_t id) const = 0; ///< as stored in the vocabulary
  virtual TokenKind token_kind(std::int32_t id) const = 0;
  virtual std::int32_t bos() const = 0; ///< -1: none
  virtual std::int32_t eos() const = 0;
  virtual std::int32_t unk() const = 0;
  virtual std::int32_t pad() const = 0;
  virtual bool adds_bos() const = 0;
  virtual bool adds_eos() const = 0;
  virtual std::string chat_template() const = 0; ///< empty: none
  /// What was read differently than the files ask for, one sentence each.
  virtual std::vector<std::string> notes() const { return {}; }

  /// The tokenizer.* metadata of a GGUF with `rows` embedding rows (fillers added for ids without a
  /// token).
  virtual Result<GgufMetadata> to_gguf(std::int64_t rows) const = 0;
  /// Where llama.cpp will tokenize differently with those keys than this tokenizer does, one
  /// sentence each; empty: nowhere that is known.
  virtual std::vector<std::string> gguf_notes() const { return {}; }
};

} // namespace bitlathe
