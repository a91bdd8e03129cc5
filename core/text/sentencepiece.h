// SPDX-License-Identifier: Apache-2.0
// The model file of google/sentencepiece (tokenizer.model, spiece.model): a protocol buffer with
// the pieces, their scores, and the rules for normalizing text (src/sentencepiece_model.proto).
#pragma once

#include "core/text/charsmap.h"
#include "core/text/hf_tokenizer.h"

namespace bitlathe::text {

struct SentencePieceFile {
  struct Piece {
    std::string text;
    float score = 0;
    TokenKind kind = TokenKind::normal;
  };
  std::vector<Piece> pieces;
  int model_type = 1; ///< 1 unigram, 2 BPE, 3 words, 4 characters
  bool byte_fallback = false, space_as_suffix = false;
  bool add_dummy_prefix = true, remove_extra_spaces = true, escape_spaces = true;
  std::string charsmap;
  std::string bos_piece = "<s>", eos_piece = "</s>", pad_piece = "<pad>";
};

bool looks_like_sentencepiece(std::string_view bytes);
Result<SentencePieceFile> parse_sentencepiece(std::string_view bytes, const std::string& where);
Result<void> load_sentencepiece(HfTokenizer& t, std::string_view bytes);

/// SentencePiece's own normalization of a text, spaces written as \u2581.
std::string sentencepiece_normalized(std::string_view text, const SentencePieceFile& file,
                                     const Charsmap& charsmap, const ByteTrie& user_defined,
                                     bool dummy_prefix);

} // namespace bitlathe::text
