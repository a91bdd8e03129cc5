// SPDX-License-Identifier: Apache-2.0
// "llama": SentencePiece's byte-pair encoding.
#include "core/text/gguf_tokenizer.h"
#include "core/text/spm.h"

namespace bitlathe {

extern const GgufModelKind gguf_model_llama;

namespace {

using namespace text;

struct LlamaModel final : GgufModel {
  SpmBpe bpe;
  bool space_prefix = true;

  std::string kind() const override { return "spm-bpe"; }
  void encode(std::string_view text, bool after_special,
              std::vector<std::int32_t>& out) const override {
    const std::string space = space_prefix && after_special ? " " : "";
    bpe.encode(with_marks(space + std::string(text)), out);
  }
  std::string piece(const std::string& token) const override { return with_spaces(token); }
  bool adds_space() const override { return space_prefix; }
};

Result<std::unique_ptr<GgufModel>> load(GgufTokenizer& t) {
  auto model = std::make_unique<LlamaModel>();
  model->bpe.vocabulary = t.vocabulary;
  model->bpe.scores = t.scores;
  model->space_prefix = t.add_space_prefix;
  t.add_bos = true;
  t.bos_id = 1;
  t.eos_id = 2;
  t.unk_id = 0;
  // llama.cpp stops with an error on a character that no token spells; one unknown token for a run
  // of them is what the models know.
  const GgufValue* unknown = find(t.metadata, "tokenizer.ggml.unknown_token_id");
  const auto id = unknown ? unknown->as_int().value_or(0) : 0;
  model->bpe.unknown_id = id >= 0 && std::uint64_t(id) < t.tokens.size() ? std::int32_t(id) : 0;
  model->bpe.prepare();
  return std::unique_ptr<GgufModel>(std::move(model));
}

} // namespace

const GgufModelKind gguf_model_llama{"llama", load};

} // namespace bitlathe
