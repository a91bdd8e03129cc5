// SPDX-License-Identifier: Apache-2.0
#include "core/text/sentencepiece.h"

#include "core/text/charsmap.h"
#include "core/text/spm.h"
#include "core/text/unigram.h"

#include <algorithm>
#include <limits>

namespace bitlathe::text {

namespace {

/// What both kinds of models have in common.
struct SentencePieceModel : TokenModel {
  std::shared_ptr<const SentencePieceFile> file;
  Vocabulary all;
  std::int32_t unknown_id = -1;

  std::int32_t find(std::string_view token) const override { return find_token(all, token); }
  std::int32_t unknown() const override { return unknown_id; }
  bool worth_caching() const override { return false; } // pieces are whole texts
  std::vector<float> scores(const TokenList& list) const override {
    std::vector<float> out(list.size(), 0.0f);
    for (std::size_t i = 0; i < file->pieces.size(); ++i)
      out[i] = file->pieces[i].score;
    return out;
  }
  Result<GgufPlan> plan_gguf(const HfTokenizer&) const override {
    GgufPlan plan;
    plan.model = file->model_type == 2 ? "llama" : "t5";
    plan.pre = "default";
    plan.scores = true;
    const auto flag = [&](const char* key, bool value) {
      plan.more.emplace_back(key, GgufValue::boolean(value));
    };
    flag("tokenizer.ggml.add_space_prefix", file->add_dummy_prefix);
    if (plan.model == "t5") {
      flag("tokenizer.ggml.remove_extra_whitespaces", file->remove_extra_spaces);
      if (!file->charsmap.empty())
        plan.more.emplace_back("tokenizer.ggml.precompiled_charsmap", gguf_bytes(file->charsmap));
    } else if (!file->charsmap.empty() || file->remove_extra_spaces) {
      plan.notes.push_back("llama.cpp does not normalize text for this kind of tokenizer, as the "
                           "SentencePiece model asks");
    }
    if (plan.model == "t5" && file->byte_fallback)
      plan.notes.push_back("llama.cpp does not spell unknown characters in bytes for this kind");
    if (file->space_as_suffix)
      plan.notes.push_back("llama.cpp puts the space before a word, this tokenizer behind it");
    return plan;
  }
};

struct BpePieces final : SentencePieceModel {
  SpmBpe bpe;
  std::string kind(bool) const override { return "spm-bpe"; }
  void encode(std::string_view piece, std::vector<std::int32_t>& out) const override {
    bpe.encode(piece, out);
  }
};

struct UnigramPieces final : SentencePieceModel {
  Unigram<float> unigram;
  std::int32_t byte_ids[256];
  std::string kind(bool) const override { return "unigram"; }
  void encode(std::string_view piece, std::vector<std::int32_t>& out) const override {
    unigram.cut(piece, true, [&](std::string_view part, std::int32_t id) {
      if (id >= 0) {
        out.push_back(id);
        return;
      }
      const bool spelled =
          file->byte_fallback && std::all_of(part.begin(), part.end(), [&](char c) {
            return byte_ids[static_cast<unsigned char>(c)] >= 0;
          });
      if (spelled)
        for (const char c : part)
          out.push_back(byte_ids[static_cast<unsigned char>(c)]);
      else if (unknown_id >= 0)
        out.push_back(unknown_id);
    });
  }
};

bool can_be_found(TokenKind kind) {
  return kind == TokenKind::normal || kind == TokenKind::user_defined || kind == TokenKind::unused;
}

std::unique_ptr<BpePieces> make_bpe(const SentencePieceFile& file) {
  auto model = std::make_unique<BpePieces>();
  SpmBpe& bpe = model->bpe;
  for (std::size_t i = 0; i < file.pieces.size(); ++i) {
    const auto& piece = file.pieces[i];
    const auto id = std::int32_t(i);
    bpe.scores.push_back(piece.score);
    if (can_be_found(piece.kind) || (piece.kind == TokenKind::byte && file.byte_fallback))
      bpe.vocabulary.emplace(piece.text, id);
    if (piece.kind == TokenKind::user_defined)
      bpe.always.insert(piece.text, std::uint32_t(i));
    if (piece.kind == TokenKind::unused) {
      bpe.unused.resize(file.pieces.size());
      bpe.unused[i] = true;
    }
    if (piece.kind == TokenKind::unknown)
      bpe.unknown_id = id;
  }
  bpe.prepare();
  return model;
}

std::unique_ptr<UnigramPieces> make_unigram(const SentencePieceFile& file) {
  auto model = std::make_unique<UnigramPieces>();
  auto& unigram = model->unigram;
  float lowest = std::numeric_limits<float>::max(), highest = std::numeric_limits<float>::lowest();
  std::fill(std::begin(model->byte_ids), std::end(model->byte_ids), -1);
  for (std::size_t i = 0; i < file.pieces.size(); ++i) {
    const auto& piece = file.pieces[i];
    unigram.scores.push_back(piece.score);
    if (piece.kind == TokenKind::normal) {
      lowest = std::min(lowest, piece.score);
      highest = std::max(highest, piece.score);
    }
    if (piece.kind == TokenKind::normal || piece.kind == TokenKind::user_defined)
      unigram.trie.insert(piece.text, std::uint32_t(i));
    if (piece.kind == TokenKind::user_defined) {
      unigram.always.resize(file.pieces.size());
      unigram.always[i] = true;
    }
    if (const int byte = byte_of_token(piece.text); piece.kind == TokenKind::byte && byte >= 0)
      model->byte_ids[byte] = std::int32_t(i);
  }
  unigram.unknown_score = lowest - 10.0f;
  unigram.always_score = highest;
  return model;
}

Json decoder_json(const SentencePieceFile& file) {
  Json steps = Json::array();
  steps.push_back({{"type", "Replace"}, {"pattern", {{"String", "\u2581"}}}, {"content", " "}});
  steps.push_back({{"type", "ByteFallback"}});
  steps.push_back({{"type", "Fuse"}});
  if (file.add_dummy_prefix)
    steps.push_back({{"type", "Strip"},
                     {"content", " "},
                     {"start", file.space_as_suffix ? 0 : 1},
                     {"stop", file.space_as_suffix ? 1 : 0}});
  return {{"type", "Sequence"}, {"decoders", steps}};
}

} // namespace

Result<void> load_sentencepiece(HfTokenizer& t, std::string_view bytes) {
  TRY_ASSIGN(auto parsed, parse_sentencepiece(bytes, t.where));
  auto file = std::make_shared<SentencePieceFile>(std::move(parsed));
  std::unique_ptr<SentencePieceModel> model;
  if (file->model_type == 2)
    model = make_bpe(*file);
  else if (file->model_type == 1)
    model = make_unigram(*file);
  else
    return Error{"unsupported",
                 "SentencePiece models of words or characters (type " +
                     std::to_string(file->model_type) + ") are not supported",
                 t.where};
  model->file = file;
  TRY_ASSIGN(auto map, Charsmap::parse(file->charsmap, t.where));
  auto charsmap = std::make_shared<const Charsmap>(std::move(map));
  auto user_defined = std::make_shared<ByteTrie>();
  std::vector<AddedToken> specials;
  for (std::size_t i = 0; i < file->pieces.size(); ++i) {
    const auto& piece = file->pieces[i];
    const auto id = std::int32_t(i);
    if (!model->all.emplace(piece.text, id).second)
      return Error{"bad-file", "The piece \"" + piece.text + "\" is listed twice", t.where};
    TRY(t.list.place(piece.text, id, t.where));
    t.list.kinds[i] = piece.kind;
    if (piece.kind == TokenKind::unknown)
      model->unknown_id = id;
    if (piece.kind == TokenKind::user_defined)
      user_defined->insert(piece.text, std::uint32_t(i));
    if (piece.kind == TokenKind::control || piece.kind == TokenKind::unknown) {
      AddedToken token;
      token.id = id;
      token.content = piece.text;
      token.special = true;
      specials.push_back(std::move(token));
    }
  }
  t.model = std::move(model);
  for (auto& token : specials)
    TRY(add_token(t, std::move(token)));
  t.unk_id = t.model->unknown();
  t.bos_id = t.model->find(file->bos_piece);
  t.eos_id = t.model->find(file->eos_piece);
  t.pad_id = t.model->find(file->pad_piece);
  t.pre_tokenizer.push_back(
      [file, charsmap, user_defined, first_only = t.prefix_first_only](std::vector<Piece>& pieces) {
        for (auto& piece : pieces)
          if (piece.token < 0)
            piece.text =
                sentencepiece_normalized(piece.text, *file, *charsmap, *user_defined,
                                         file->add_dummy_prefix && (piece.at_start || !first_only));
      });
  TRY_ASSIGN(t.decoder, parse_decoder(decoder_json(*file), t.where));
  return {};
}

} // namespace bitlathe::text
