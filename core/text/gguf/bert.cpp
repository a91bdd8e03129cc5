// SPDX-License-Identifier: Apache-2.0
// "bert": word pieces, spelled with a mark before what begins a word.
#include "core/text/gguf_tokenizer.h"
#include "core/text/unicode.h"

#include <QChar>

namespace bitlathe {

extern const GgufModelKind gguf_model_bert;

namespace {

using namespace text;

bool is_ideograph(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B81F) ||
         (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) ||
         (c >= 0x2F800 && c <= 0x2FA1F);
}

struct BertModel final : GgufModel {
  ByteTrie trie;
  std::int32_t unknown = -1;
  bool lower = true, strip = true;

  std::string kind() const override { return "wordpiece"; }
  std::string piece(const std::string& token) const override { return with_spaces(token); }
  bool adds_space() const override { return true; }

  void encode(std::string_view given, bool, std::vector<std::int32_t>& out) const override {
    const std::string text = strip ? normal_form(given, NormalForm::nfd) : std::string(given);
    std::string word;
    const auto finish = [&] {
      if (!word.empty())
        encode_word(word, out);
      word.clear();
    };
    for (std::size_t pos = 0; pos < text.size();) {
      const char32_t c = next_char(text, pos);
      if (is_space(c)) {
        finish();
        continue;
      }
      const auto category = QChar::category(c);
      const bool control = category == QChar::Other_Control || category == QChar::Other_Format ||
                           category == QChar::Other_PrivateUse;
      if (c == 0 || c == 0xFFFD || control || (strip && category <= QChar::Mark_Enclosing))
        continue;
      std::string one;
      append_char(one, lower ? QChar::toLower(c) : c);
      const bool punctuation =
          category >= QChar::Punctuation_Connector && category <= QChar::Punctuation_Other;
      const bool symbol = category >= QChar::Symbol_Math && category <= QChar::Symbol_Other;
      if (punctuation || (c < 0x7F && symbol) || is_ideograph(c)) {
        finish();
        encode_word(one, out);
      } else {
        word += one;
      }
    }
    finish();
  }

 private:
  void encode_word(const std::string& word, std::vector<std::int32_t>& out) const {
    const std::string marked = "\u2581" + word;
    const std::size_t before = out.size();
    for (std::string_view rest = marked; !rest.empty();) {
      std::size_t length = 0;
      std::uint32_t id = 0;
      trie.each_prefix(rest, [&](std::size_t n, std::uint32_t value) {
        length = n;
        id = value;
      });
      if (length == 0) {
        out.resize(before);
        break;
      }
      out.push_back(std::int32_t(id));
      rest.remove_prefix(length);
    }
    if (out.size() == before && unknown >= 0)
      out.push_back(unknown);
  }
};

Result<std::unique_ptr<GgufModel>> load(GgufTokenizer& t) {
  auto model = std::make_unique<BertModel>();
  for (std::size_t i = 0; i < t.tokens.size(); ++i)
    model->trie.insert(t.tokens[i], std::uint32_t(i));
  TRY_ASSIGN(model->lower,
             gguf_flag(t.metadata, "tokenizer.ggml.normalizer.lowercase", true, t.where));
  TRY_ASSIGN(model->strip, gguf_flag(t.metadata, "tokenizer.ggml.normalizer.strip_accents",
                                     model->lower, t.where));
  t.bos_id = 101;
  t.unk_id = 100;
  t.sep_id = 102;
  t.pad_id = 0;
  const GgufValue* unknown = find(t.metadata, "tokenizer.ggml.unknown_token_id");
  const auto id = unknown ? unknown->as_int().value_or(100) : 100;
  model->unknown = id >= 0 && std::uint64_t(id) < t.tokens.size() ? std::int32_t(id) : -1;
  return std::unique_ptr<GgufModel>(std::move(model));
}

} // namespace

const GgufModelKind gguf_model_bert{"bert", load};

} // namespace bitlathe
