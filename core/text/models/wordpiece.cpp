// SPDX-License-Identifier: Apache-2.0
// BERT's word pieces: the longest token a word begins with, then the longest that continues it.
#include "core/text/hf_tokenizer.h"
#include "core/text/stage_facts.h"
#include "core/text/unicode.h"

namespace bitlathe {

extern const TokenModelKind token_model_wordpiece;

namespace {

using namespace text;

struct WordPieceModel final : TokenModel {
  Vocabulary vocabulary;
  ByteTrie starts, continuations;
  std::int32_t unknown_id = -1;
  std::int64_t longest_word = 100; ///< in characters; longer words are unknown
  std::string prefix;

  std::string kind(bool) const override { return "wordpiece"; }
  std::int32_t find(std::string_view token) const override { return find_token(vocabulary, token); }
  std::int32_t unknown() const override { return unknown_id; }

  void encode(std::string_view piece, std::vector<std::int32_t>& out) const override {
    const std::size_t first = out.size();
    bool known = !too_long(piece);
    for (std::size_t pos = 0; known && pos < piece.size();) {
      std::size_t best = 0;
      std::uint32_t id = 0;
      (pos == 0 ? starts : continuations)
          .each_prefix(piece.substr(pos), [&](std::size_t length, std::uint32_t value) {
            best = length;
            id = value;
          });
      known = best > 0;
      pos += best;
      if (known)
        out.push_back(std::int32_t(id));
    }
    if (known)
      return;
    out.resize(first);
    if (unknown_id >= 0)
      out.push_back(unknown_id);
  }

  Result<GgufPlan> plan_gguf(const HfTokenizer& tokenizer) const override;

 private:
  bool too_long(std::string_view piece) const {
    if (std::int64_t(piece.size()) <= longest_word)
      return false;
    std::int64_t count = 0;
    for (std::size_t pos = 0; pos < piece.size(); ++count)
      pos += char_bytes(piece[pos]);
    return count > longest_word;
  }
};

Result<GgufPlan> WordPieceModel::plan_gguf(const HfTokenizer& t) const {
  const auto cannot = [&](const std::string& what) {
    return Error{"unsupported", "GGUF cannot hold this tokenizer: " + what, t.where};
  };
  GgufPlan plan;
  plan.model = "bert";
  plan.pre = "default";
  if (prefix != "##")
    return cannot("llama.cpp knows word pieces that continue a word only as \"##\", not as \"" +
                  prefix + "\"");
  bool lower = false, strip = false, bert = false;
  TRY_ASSIGN(const auto normalizers,
             stage_list(t.normalizer_json, "normalizer", "normalizers", t.where));
  for (const auto& stage : normalizers) {
    const auto type = text_of(stage, "type");
    if (type == "BertNormalizer") {
      bert = true;
      lower = flag_of(stage, "lowercase", true);
      strip = flag_of(stage, "strip_accents", lower);
      if (!flag_of(stage, "clean_text", true) || !flag_of(stage, "handle_chinese_chars", true))
        plan.notes.push_back("llama.cpp always removes control characters and takes ideographs as "
                             "words of their own");
    } else if (type == "Lowercase") {
      lower = true;
    } else if (type == "StripAccents") {
      strip = true;
    } else if (type != "NFD") {
      return cannot("it has no place for the normalizer " + stage.dump());
    }
  }
  if (!bert)
    plan.notes.push_back("llama.cpp cleans text and splits ideographs as BERT does, which this "
                         "tokenizer.json does not ask for");
  TRY_ASSIGN(const auto stages,
             stage_list(t.pre_tokenizer_json, "pre_tokenizer", "pretokenizers", t.where));
  if (stages.size() != 1 || text_of(stages[0], "type") != "BertPreTokenizer")
    return cannot("llama.cpp splits words as BertPreTokenizer does, not like " +
                  t.pre_tokenizer_json.dump());
  plan.more.emplace_back("tokenizer.ggml.normalizer.lowercase", GgufValue::boolean(lower));
  plan.more.emplace_back("tokenizer.ggml.normalizer.strip_accents", GgufValue::boolean(strip));
  return plan;
}

Result<LoadedModel> load(const Json& json, TokenList& list, const std::string& where) {
  LoadedModel out;
  auto model = std::make_unique<WordPieceModel>();
  TRY(list.load(json, model->vocabulary, where));
  TRY_ASSIGN(const auto unknown, json_string_or(json, "unk_token", "[UNK]", where));
  TRY_ASSIGN(model->prefix, json_string_or(json, "continuing_subword_prefix", "##", where));
  TRY_ASSIGN(model->longest_word, json_int_or(json, "max_input_chars_per_word", 100, where));
  model->unknown_id = model->find(unknown);
  if (model->unknown_id >= 0)
    list.kinds[std::size_t(model->unknown_id)] = TokenKind::unknown;
  else
    out.notes.push_back("The tokenizer has no token for unknown words (\"" + unknown +
                        "\"); they are left out");
  for (const auto& [token, id] : model->vocabulary) {
    model->starts.insert(token, std::uint32_t(id));
    if (token.compare(0, model->prefix.size(), model->prefix) == 0)
      model->continuations.insert(std::string_view(token).substr(model->prefix.size()),
                                  std::uint32_t(id));
  }
  out.model = std::move(model);
  return out;
}

} // namespace

const TokenModelKind token_model_wordpiece{"WordPiece",
                                           [](const Json& m) {
                                             return m.contains("vocab") && m["vocab"].is_object() &&
                                                    (m.contains("max_input_chars_per_word") ||
                                                     m.contains("continuing_subword_prefix"));
                                           },
                                           load};

} // namespace bitlathe
