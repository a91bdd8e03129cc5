// SPDX-License-Identifier: Apache-2.0
// "gpt2": byte-pair encoding behind a named pre-tokenizer.
#include "core/text/bpe.h"
#include "core/text/gguf_tokenizer.h"
#include "core/text/unicode.h"

namespace bitlathe {

extern const GgufModelKind gguf_model_gpt2;

namespace {

using namespace text;

struct Gpt2Model final : GgufModel {
  Bpe bpe;
  std::vector<Regex> patterns;
  std::size_t tokens = 0;
  GgufPre pre;

  std::string kind() const override { return pre.bytes ? "byte-bpe" : "spm-bpe"; }

  void encode(std::string_view given, bool, std::vector<std::int32_t>& out) const override {
    const std::string text = pre.marks ? with_marks(given) : std::string(given);
    std::vector<std::int32_t> ids;
    split(text, 0, [&](std::string_view word) {
      ids.clear();
      if (pre.bytes)
        bpe.encode(to_printable(word), ids);
      else
        encode_plain(word, ids);
      for (const auto id : ids)
        if (std::size_t(id) < tokens) // others are merge results without a token
          out.push_back(id);
    });
  }

  std::string piece(const std::string& token) const override {
    return pre.bytes ? from_printable(token) : pre.marks ? with_spaces(token) : token;
  }

 private:
  /// Runs of line ends that are a token are that token.
  void encode_plain(std::string_view word, std::vector<std::int32_t>& ids) const {
    if (word.find_first_not_of('\n') == std::string_view::npos)
      if (const auto id = bpe.find(word); id >= 0 && std::size_t(id) < tokens) {
        ids.push_back(id);
        return;
      }
    bpe.encode(word, ids);
  }

  template <class F> void split(std::string_view text, std::size_t pattern, F&& f) const {
    if (text.empty())
      return;
    if (pattern == patterns.size()) {
      f(text);
      return;
    }
    for (const auto& span : patterns[pattern].cut(text))
      split(text.substr(span.begin, span.end - span.begin), pattern + 1, f);
  }
};

Result<void> load_merges(Gpt2Model& m, const GgufTokenizer& t) {
  const auto bad = [&](const std::string& message) { return Error{"bad-file", message, t.where}; };
  const auto* merges = find_gguf_array(t.metadata, "tokenizer.ggml.merges");
  if (!merges)
    return bad("There is no list \"tokenizer.ggml.merges\"");
  // llama.cpp merges texts and looks for tokens at the end. What has no token gets an id behind
  // them, so that it takes part in merging but not in the result.
  Bpe& bpe = m.bpe;
  auto spare = std::int32_t(t.tokens.size());
  const auto id_of = [&](const std::string& text) {
    const auto [it, added] = bpe.vocabulary.try_emplace(text, spare);
    spare += added;
    return it->second;
  };
  bpe.whole_word_limit = spare;
  for (int b = 0; b < 256 && m.pre.bytes; ++b)
    id_of(std::string(byte_to_printable(static_cast<unsigned char>(b))));
  bpe.merges.reserve(merges->size());
  for (std::size_t i = 0; i < merges->size(); ++i) {
    const auto text = (*merges)[i].as_string();
    const auto space = text ? text->find(' ', 1) : std::string::npos;
    if (space == std::string::npos)
      return bad("Merge " + std::to_string(i) + " is not two pieces with a space between");
    const auto left = text->substr(0, space), right = text->substr(space + 1);
    if (right.empty())
      continue;
    const auto left_id = id_of(left), right_id = id_of(right), joined = id_of(left + right);
    if (bpe.merges.find(left_id, right_id).rank < 0)
      bpe.merges.insert(left_id, right_id, {std::int32_t(i), joined});
  }
  return {};
}

Result<std::unique_ptr<GgufModel>> load(GgufTokenizer& t) {
  auto model = std::make_unique<Gpt2Model>();
  const GgufValue* named = find(t.metadata, "tokenizer.ggml.pre");
  const auto name = named ? named->as_string().value_or("") : std::string();
  const GgufPre* known = find_gguf_pre(name);
  if (!known) {
    known = find_gguf_pre("default");
    t.remarks.push_back(name.empty()
                            ? "The file names no pre-tokenizer (tokenizer.ggml.pre); llama.cpp's "
                              "default was used: ids may differ from the model's own"
                            : "The pre-tokenizer \"" + name +
                                  "\" is not known; llama.cpp's default was used: ids may differ");
  }
  model->pre = *known;
  for (const auto& pattern : known->patterns) {
    TRY_ASSIGN(auto regex, Regex::compile(pattern, t.where, RegexFlavor::rust));
    model->patterns.push_back(std::move(regex));
  }
  model->tokens = t.tokens.size();
  model->bpe.vocabulary = t.vocabulary;
  model->bpe.whole_words_first = known->whole_words_first;
  model->bpe.byte_fallback = !known->bytes;
  TRY(load_merges(*model, t));
  model->bpe.prepare();
  t.add_bos = known->add_bos;
  return std::unique_ptr<GgufModel>(std::move(model));
}

} // namespace

const GgufModelKind gguf_model_gpt2{"gpt2", load};

} // namespace bitlathe
