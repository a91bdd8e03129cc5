// SPDX-License-Identifier: Apache-2.0
// Every piece is a token or unknown.
#include "core/text/model.h"

namespace bitlathe {

extern const TokenModelKind token_model_wordlevel;

namespace {

using namespace text;

struct WordLevelModel final : TokenModel {
  Vocabulary vocabulary;
  std::int32_t unknown_id = -1;

  std::string kind(bool) const override { return "wordlevel"; }
  void encode(std::string_view piece, std::vector<std::int32_t>& out) const override {
    const auto id = find(piece);
    if (id >= 0 || unknown_id >= 0)
      out.push_back(id >= 0 ? id : unknown_id);
  }
  std::int32_t find(std::string_view token) const override { return find_token(vocabulary, token); }
  std::int32_t unknown() const override { return unknown_id; }
  bool worth_caching() const override { return false; }
  Result<GgufPlan> plan_gguf(const HfTokenizer&) const override {
    return Error{"unsupported", "GGUF has no kind of tokenizer for whole words (WordLevel)", {}};
  }
};

Result<LoadedModel> load(const Json& json, TokenList& list, const std::string& where) {
  LoadedModel out;
  auto model = std::make_unique<WordLevelModel>();
  TRY(list.load(json, model->vocabulary, where));
  TRY_ASSIGN(const auto unknown, json_string_or(json, "unk_token", "<unk>", where));
  model->unknown_id = model->find(unknown);
  if (model->unknown_id >= 0)
    list.kinds[std::size_t(model->unknown_id)] = TokenKind::unknown;
  else
    out.notes.push_back("The tokenizer has no token for unknown words (\"" + unknown +
                        "\"); they are left out");
  out.model = std::move(model);
  return out;
}

} // namespace

const TokenModelKind token_model_wordlevel{
    "WordLevel", [](const Json& m) { return m.contains("vocab") && m["vocab"].is_object(); }, load};

} // namespace bitlathe
