// SPDX-License-Identifier: Apache-2.0
// Writes a tokenizer as tokenizer.ggml.* keys. What llama.cpp cannot do with them is refused, or,
// where texts of the usual kind come out the same, said in gguf_notes().
#include "core/text/gguf_tokenizer.h"
#include "core/text/hf_tokenizer.h"

#include <algorithm>

namespace bitlathe::text {

namespace {

Result<GgufPlan> make_plan(const HfTokenizer& t) {
  TRY_ASSIGN(auto plan, t.model->plan_gguf(t));
  const bool bert = plan.model == "bert"; // puts [CLS] and [SEP] around a text
  if (!bert && (t.prefix.size() > 1 || t.suffix.size() > 1 ||
                (t.prefix.size() == 1 && !t.adds_bos()) || (t.suffix.size() == 1 && !t.adds_eos())))
    plan.notes.push_back("llama.cpp puts at most one begin and one end token around a text; the "
                         "template of this tokenizer puts others");
  std::size_t stripping = 0;
  for (const auto& token : t.added.tokens())
    stripping += token.left_strip || token.right_strip || token.single_word;
  if (stripping)
    plan.notes.push_back("llama.cpp does not know that " + std::to_string(stripping) +
                         " added tokens swallow spaces or must be whole words");
  if (t.eos_id < 0 && !bert && plan.model != "t5")
    plan.notes.push_back("The tokenizer names no end-of-text token; llama.cpp then takes id " +
                         std::string(plan.model == "llama" ? "2" : "11"));
  return plan;
}

/// WordPiece tokens as llama.cpp spells them: a mark before what begins a word, nothing before what
/// continues one.
std::string bert_spelling(const std::string& token, TokenKind kind) {
  if (kind == TokenKind::control || kind == TokenKind::unknown ||
      (token.size() > 2 && token.front() == '[' && token.back() == ']'))
    return token;
  return token.compare(0, 2, "##") == 0 && token.size() > 2 ? token.substr(2) : "\u2581" + token;
}

} // namespace

GgufValue gguf_bytes(std::string_view bytes) {
  auto list = std::make_shared<GgufArray>(bytes.size());
  for (std::size_t i = 0; i < bytes.size(); ++i)
    (*list)[i].value = std::uint64_t(static_cast<unsigned char>(bytes[i]));
  return {9, 0, std::move(list)};
}

std::vector<std::string> HfTokenizer::gguf_notes() const {
  const auto plan = make_plan(*this);
  return plan ? plan->notes : std::vector<std::string>{plan.error().message};
}

Result<GgufMetadata> HfTokenizer::to_gguf(std::int64_t rows) const {
  TRY_ASSIGN(const auto plan, make_plan(*this));
  const auto have = std::int64_t(list.size());
  if (rows < have)
    return Error{"mismatch",
                 "The tokenizer has " + std::to_string(have) + " tokens, but the model only " +
                     std::to_string(rows) + " embedding rows",
                 where};

  std::vector<std::string> texts = list.tokens;
  std::vector<std::int32_t> types;
  texts.resize(std::size_t(rows));
  Vocabulary taken;
  for (std::int64_t id = 0; id < have; ++id) {
    auto& text = texts[std::size_t(id)];
    if (plan.model == "bert")
      text = bert_spelling(text, token_kind(std::int32_t(id)));
    taken.emplace(text, std::int32_t(id));
  }
  for (std::int64_t id = 0; id < rows; ++id) {
    const auto kind = token_kind(std::int32_t(id));
    auto& text = texts[std::size_t(id)];
    // llama.cpp stops on a text that two ids have.
    if (text.empty() || (id < have && find_token(taken, text) != std::int32_t(id)))
      text = filler_token(id, taken);
    types.push_back(std::int32_t(kind));
  }

  GgufMetadata out;
  const auto add = [&](const char* key, GgufValue value) {
    out.emplace_back(key, std::move(value));
  };
  add("tokenizer.ggml.model", GgufValue::string(plan.model));
  add("tokenizer.ggml.pre", GgufValue::string(plan.pre));
  add("tokenizer.ggml.tokens", GgufValue::strings(texts));
  if (plan.scores) {
    auto scores = model->scores(list);
    scores.resize(std::size_t(rows), -1e9f);
    add("tokenizer.ggml.scores", GgufValue::f32s(scores));
  }
  add("tokenizer.ggml.token_type", GgufValue::i32s(types));
  const auto add_id = [&](const char* key, std::int32_t id) {
    if (id >= 0)
      add(key, GgufValue::u32(std::uint32_t(id)));
  };
  if (plan.model == "bert") {
    add_id("tokenizer.ggml.bos_token_id", prefix.empty() ? cls_id : prefix[0]);
    add_id("tokenizer.ggml.seperator_token_id", suffix.empty() ? sep_id : suffix[0]);
    add_id("tokenizer.ggml.mask_token_id", mask_id);
    add("tokenizer.ggml.add_sep_token", GgufValue::boolean(!suffix.empty()));
    add("tokenizer.ggml.add_bos_token", GgufValue::boolean(!prefix.empty()));
  } else {
    add_id("tokenizer.ggml.bos_token_id", bos_id);
    add_id("tokenizer.ggml.eos_token_id", eos_id);
    add("tokenizer.ggml.add_bos_token", GgufValue::boolean(adds_bos()));
    add("tokenizer.ggml.add_eos_token", GgufValue::boolean(adds_eos()));
  }
  add_id("tokenizer.ggml.unknown_token_id", unk_id);
  add_id("tokenizer.ggml.padding_token_id", pad_id);
  for (const auto& [key, value] : plan.more)
    out.emplace_back(key, value);
  if (!template_text.empty())
    add("tokenizer.chat_template", GgufValue::string(template_text));
  return out;
}

} // namespace bitlathe::text
