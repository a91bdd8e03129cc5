// SPDX-License-Identifier: Apache-2.0
// "t5": SentencePiece's unigram model.
#include "core/text/charsmap.h"
#include "core/text/gguf_tokenizer.h"
#include "core/text/unicode.h"
#include "core/text/unigram.h"

#include <algorithm>
#include <limits>

namespace bitlathe {

extern const GgufModelKind gguf_model_t5;

namespace {

using namespace text;

struct T5Model final : GgufModel {
  Unigram<double> unigram;
  ByteTrie user_defined;
  Charsmap charsmap;
  std::int32_t unknown = -1;
  bool space_prefix = false, one_space = false, space_as_suffix = false, marks = true;

  std::string kind() const override { return "unigram"; }
  void encode(std::string_view text, bool, std::vector<std::int32_t>& out) const override {
    unigram.cut(normalized(text), true, [&](std::string_view, std::int32_t id) {
      if (id >= 0 || unknown >= 0)
        out.push_back(id >= 0 ? id : unknown);
    });
  }
  std::string piece(const std::string& token) const override { return with_spaces(token); }
  bool adds_space() const override { return space_prefix || one_space; }

 private:
  std::string normalized(std::string_view text) const {
    const std::string space = marks ? "\u2581" : " ";
    std::string out;
    out.reserve(text.size() * 3 / 2);
    bool prefixed = false, in_word = false;
    while (!text.empty()) {
      std::size_t used = 0;
      std::string_view part;
      user_defined.each_prefix(text, [&](std::size_t n, std::uint32_t) { used = n; });
      if (used) {
        part = text.substr(0, used);
      } else if (const auto found = charsmap.longest_prefix(text); found.length) {
        used = found.length;
        part = found.normal;
      } else {
        used = std::min(char_bytes(text[0]), text.size());
        part = text.substr(0, used);
      }
      for (const char c : part) {
        if (c == ' ') {
          in_word = false;
          if (!one_space)
            out += space;
          continue;
        }
        if (!in_word && ((space_prefix && !space_as_suffix && !prefixed) || one_space)) {
          out += space;
          prefixed = true;
        }
        in_word = true;
        out += c;
      }
      text.remove_prefix(used);
    }
    if (space_as_suffix && space_prefix)
      out += space;
    return out;
  }
};

Result<std::string> read_charsmap(const GgufTokenizer& t) {
  std::string out;
  const auto* array = find_gguf_array(t.metadata, "tokenizer.ggml.precompiled_charsmap");
  if (!array)
    return out;
  out.reserve(array->size());
  for (const auto& value : *array) {
    const auto byte = value.as_int();
    if (!byte || *byte < -128 || *byte > 255)
      return Error{"bad-file", "\"tokenizer.ggml.precompiled_charsmap\" must be a list of bytes",
                   t.where};
    out += char(*byte);
  }
  return out;
}

Result<std::unique_ptr<GgufModel>> load(GgufTokenizer& t) {
  auto model = std::make_unique<T5Model>();
  TRY_ASSIGN(const auto blob, read_charsmap(t));
  TRY_ASSIGN(model->charsmap, Charsmap::parse(blob, t.where));
  model->space_prefix = t.add_space_prefix;
  TRY_ASSIGN(model->one_space,
             gguf_flag(t.metadata, "tokenizer.ggml.remove_extra_whitespaces", false, t.where));
  TRY_ASSIGN(model->space_as_suffix,
             gguf_flag(t.metadata, "tokenizer.ggml.treat_whitespace_as_suffix", false, t.where));
  TRY_ASSIGN(model->marks,
             gguf_flag(t.metadata, "tokenizer.ggml.escape_whitespaces", true, t.where));
  float lowest = std::numeric_limits<float>::max();
  for (std::size_t i = 0; i < t.tokens.size(); ++i) {
    const auto kind = t.kinds[i];
    if (kind == TokenKind::normal)
      lowest = std::min(lowest, t.scores[i]);
    if (kind == TokenKind::user_defined)
      model->user_defined.insert(t.tokens[i], std::uint32_t(i));
    if (kind == TokenKind::normal || kind == TokenKind::user_defined || kind == TokenKind::unused)
      model->unigram.trie.insert(t.tokens[i], std::uint32_t(i));
    // User-defined tokens win against the others, whose scores are negative.
    model->unigram.scores.push_back(kind == TokenKind::user_defined ? 0.0 : double(t.scores[i]));
  }
  model->unigram.unknown_score = double(lowest - 10.0f);
  t.add_eos = true;
  t.eos_id = 1;
  t.unk_id = 2;
  t.pad_id = 0;
  const GgufValue* unknown = find(t.metadata, "tokenizer.ggml.unknown_token_id");
  const auto id = unknown ? unknown->as_int().value_or(2) : 2;
  model->unknown = id >= 0 && std::uint64_t(id) < t.tokens.size() ? std::int32_t(id) : -1;
  return std::unique_ptr<GgufModel>(std::move(model));
}

} // namespace

const GgufModelKind gguf_model_t5{"t5", load};

} // namespace bitlathe
