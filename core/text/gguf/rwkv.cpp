// SPDX-License-Identifier: Apache-2.0
// "rwkv": the longest token the text begins with, again and again.
#include "core/text/gguf_tokenizer.h"
#include "core/text/token_list.h"

namespace bitlathe {

extern const GgufModelKind gguf_model_rwkv;

namespace {

using namespace text;

/// Tokens are any bytes, written with backslashes.
std::string unescaped(const std::string& token) {
  std::string out;
  for (std::size_t i = 0; i < token.size(); ++i) {
    if (token[i] != '\\' || i + 1 == token.size()) {
      out += token[i];
      continue;
    }
    const char c = token[++i];
    if (c == 'x' && i + 2 < token.size()) {
      const int byte = byte_of_token("<0x" + token.substr(i + 1, 2) + ">");
      out += char(byte < 0 ? 0 : byte);
      i += 2;
    } else {
      out += c == 't' ? '\t' : c == 'n' ? '\n' : c == 'r' ? '\r' : c;
    }
  }
  return out;
}

struct RwkvModel final : GgufModel {
  ByteTrie trie;
  std::int32_t unknown = -1;

  std::string kind() const override { return "rwkv"; }
  void encode(std::string_view text, bool, std::vector<std::int32_t>& out) const override {
    while (!text.empty()) {
      std::size_t length = 0;
      std::int32_t id = unknown;
      trie.each_prefix(text, [&](std::size_t n, std::uint32_t value) {
        length = n;
        id = std::int32_t(value);
      });
      if (id >= 0)
        out.push_back(id);
      text.remove_prefix(length ? length : 1);
    }
  }
  std::string piece(const std::string& token) const override { return unescaped(token); }
};

Result<std::unique_ptr<GgufModel>> load(GgufTokenizer& t) {
  auto model = std::make_unique<RwkvModel>();
  for (std::size_t i = 0; i < t.tokens.size(); ++i)
    model->trie.insert(unescaped(t.tokens[i]), std::uint32_t(i));
  if (const GgufValue* value = find(t.metadata, "tokenizer.ggml.unknown_token_id"))
    if (const auto id = value->as_int(); id && *id >= 0 && std::uint64_t(*id) < t.tokens.size())
      model->unknown = std::int32_t(*id);
  return std::unique_ptr<GgufModel>(std::move(model));
}

} // namespace

const GgufModelKind gguf_model_rwkv{"rwkv", load};

} // namespace bitlathe
