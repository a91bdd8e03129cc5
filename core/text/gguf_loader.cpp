// SPDX-License-Identifier: Apache-2.0
// Reads the tokenizer.ggml.* keys with the defaults and corrections that llama.cpp applies.
#include "core/text/gguf_tokenizer.h"
#include "core/text/unicode.h"

#include <algorithm>
#include <cmath>

namespace bitlathe::text {

namespace {

Error bad(const std::string& message, const std::string& where) {
  return {"bad-file", message, where};
}

Result<std::int32_t> token_id(const GgufMetadata& metadata, std::string_view key,
                              std::int32_t otherwise, std::size_t tokens,
                              const std::string& where) {
  if (otherwise >= 0 && std::size_t(otherwise) >= tokens)
    otherwise = -1;
  const GgufValue* value = find(metadata, key);
  if (!value)
    return otherwise;
  const auto id = value->as_int();
  if (!id)
    return bad("\"" + std::string(key) + "\" must be a whole number", where);
  // Writers mark "none" by 2^32 - 1; llama.cpp keeps its default for any id out of range.
  return *id >= 0 && std::uint64_t(*id) < tokens ? std::int32_t(*id) : otherwise;
}

/// Texts that llama.cpp takes for ends of a generation, and so for control tokens, whatever type
/// the file gives them.
bool looks_like_control(const std::string& text) {
  static const std::vector<std::string> names{"<|eot_id|>",
                                              "<|im_end|>",
                                              "<|end|>",
                                              "<|return|>",
                                              "<|call|>",
                                              "<|flush|>",
                                              "<|calls|>",
                                              "<end_of_turn>",
                                              "<|endoftext|>",
                                              "</s>",
                                              "<|eom_id|>",
                                              "<EOT>",
                                              "_<EOT>",
                                              "[EOT]",
                                              "[EOS]",
                                              "<|end_of_text|>",
                                              "<end_of_utterance>",
                                              "<eos>",
                                              "<turn|>",
                                              "<|tool_response>",
                                              "<｜end▁of▁sentence｜>",
                                              "[e~[",
                                              "<|fim_prefix|>",
                                              "<fim-prefix>",
                                              "<fim_prefix>",
                                              "<｜fim▁begin｜>",
                                              "<PRE>",
                                              "▁<PRE>",
                                              "<|code_prefix|>",
                                              "<|prefix|>",
                                              "<|fim_suffix|>",
                                              "<fim-suffix>",
                                              "<fim_suffix>",
                                              "<｜fim▁hole｜>",
                                              "<SUF>",
                                              "▁<SUF>",
                                              "<|code_suffix|>",
                                              "<|suffix|>",
                                              "<|fim_middle|>",
                                              "<fim-middle>",
                                              "<fim_middle>",
                                              "<｜fim▁end｜>",
                                              "<MID>",
                                              "▁<MID>",
                                              "<|code_middle|>",
                                              "<|middle|>",
                                              "<|fim_pad|>",
                                              "<fim-pad>",
                                              "<fim_pad>",
                                              "<PAD>",
                                              "[PAD]",
                                              "<|fim_repo|>",
                                              "<|repo_name|>",
                                              "<fim-repo>",
                                              "<REPO>",
                                              "<reponame>",
                                              "<|file_sep|>"};
  return std::find(names.begin(), names.end(), text) != names.end();
}

/// Tokens that llama.cpp gives other types than the file does.
void correct_kinds(GgufTokenizer& t) {
  for (std::size_t i = 0; i < t.tokens.size(); ++i)
    if (looks_like_control(t.tokens[i]))
      t.kinds[i] = TokenKind::control;
  const auto set = [&](const char* text, TokenKind kind) {
    if (const auto id = find_token(t.vocabulary, text); id >= 0)
      t.kinds[std::size_t(id)] = kind;
  };
  const auto has = [&](const char* text) { return find_token(t.vocabulary, text) >= 0; };
  // Always shown, for models that talk in channels.
  for (const char* text : {"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"})
    set(text, TokenKind::user_defined);
  const bool call = has("<|call|>") || has("<|calls|>");
  if (call && (has("<|return|>") || has("<|flush|>")))
    set("<|end|>", TokenKind::user_defined);
  if (has("<|tool_response>"))
    set("</s>", TokenKind::normal);
}

Result<void> load_tokens(GgufTokenizer& t) {
  const auto* tokens = find_gguf_array(t.metadata, "tokenizer.ggml.tokens");
  if (!tokens)
    return bad("There is no list \"tokenizer.ggml.tokens\"", t.where);
  if (tokens->empty())
    return bad("\"tokenizer.ggml.tokens\" is empty", t.where);
  t.tokens.reserve(tokens->size());
  t.vocabulary.reserve(tokens->size());
  for (std::size_t i = 0; i < tokens->size(); ++i) {
    auto text = (*tokens)[i].as_string();
    if (!text)
      return bad("Token " + std::to_string(i) + " is not a text", t.where);
    if (text->empty())
      text = "[EMPTY_" + std::to_string(i) + "]";
    if (!t.vocabulary.emplace(*text, std::int32_t(i)).second)
      return bad("The token \"" + *text + "\" is listed twice", t.where);
    t.tokens.push_back(std::move(*text));
  }

  t.kinds.assign(t.tokens.size(), TokenKind::normal);
  t.scores.assign(t.tokens.size(), 0.0f);
  if (const auto* types = find_gguf_array(t.metadata, "tokenizer.ggml.token_type")) {
    if (types->size() < t.tokens.size())
      return bad("\"tokenizer.ggml.token_type\" is shorter than the list of tokens", t.where);
    for (std::size_t i = 0; i < t.tokens.size(); ++i) {
      const auto type = (*types)[i].as_int();
      if (!type)
        return bad("The type of token " + std::to_string(i) + " is not a whole number", t.where);
      if (*type >= 1 && *type <= 6)
        t.kinds[i] = TokenKind(*type);
    }
  }
  if (const auto* scores = find_gguf_array(t.metadata, "tokenizer.ggml.scores")) {
    if (scores->size() < t.tokens.size())
      return bad("\"tokenizer.ggml.scores\" is shorter than the list of tokens", t.where);
    for (std::size_t i = 0; i < t.tokens.size(); ++i) {
      const auto score = (*scores)[i].as_number();
      if (!score || std::isnan(*score))
        return bad("The score of token " + std::to_string(i) + " is not a number", t.where);
      t.scores[i] = float(*score);
    }
  }
  correct_kinds(t);
  for (std::size_t i = 0; i < t.tokens.size(); ++i) {
    const auto kind = t.kinds[i];
    if (kind == TokenKind::control || kind == TokenKind::user_defined || kind == TokenKind::unknown)
      t.specials.insert(t.tokens[i], i);
  }
  return {};
}

} // namespace

const GgufArray* find_gguf_array(const GgufMetadata& metadata, std::string_view key) {
  const GgufValue* value = find(metadata, key);
  const auto* array = value ? std::get_if<std::shared_ptr<GgufArray>>(&value->value) : nullptr;
  return array ? array->get() : nullptr;
}

Result<bool> gguf_flag(const GgufMetadata& metadata, std::string_view key, bool otherwise,
                       const std::string& where) {
  const GgufValue* value = find(metadata, key);
  if (!value)
    return otherwise;
  if (const bool* set = std::get_if<bool>(&value->value))
    return *set;
  return bad("\"" + std::string(key) + "\" must be true or false", where);
}

Result<std::shared_ptr<const Tokenizer>> load_gguf_tokenizer(const GgufMetadata& metadata,
                                                             const std::string& where) {
  auto tokenizer = std::make_shared<GgufTokenizer>();
  GgufTokenizer& t = *tokenizer;
  t.where = where;
  for (const auto& entry : metadata)
    if (entry.first.compare(0, 10, "tokenizer.") == 0)
      t.metadata.push_back(entry);

  const GgufValue* model = find(metadata, "tokenizer.ggml.model");
  const auto name = model ? model->as_string() : std::nullopt;
  if (!name || *name == "none" || *name == "no_vocab")
    return Error{"not-found", "The file has no tokenizer (\"tokenizer.ggml.model\")", where};
  const auto kinds = all_gguf_models();
  const auto kind = std::find_if(kinds.begin(), kinds.end(),
                                 [&](const GgufModelKind* k) { return k->name == *name; });
  if (kind == kinds.end()) {
    std::string known;
    for (const auto* k : kinds)
      known += (known.empty() ? "" : ", ") + std::string(k->name);
    return Error{"unsupported",
                 "The tokenizer model \"" + *name + "\" is not supported; known are " + known,
                 where};
  }
  TRY(load_tokens(t));
  TRY_ASSIGN(t.add_space_prefix, gguf_flag(metadata, "tokenizer.ggml.add_space_prefix",
                                           *name == "llama" || *name == "plamo2", where));
  TRY_ASSIGN(t.model, (*kind)->load(t));

  const auto count = t.tokens.size();
  TRY_ASSIGN(t.add_bos, gguf_flag(metadata, "tokenizer.ggml.add_bos_token", t.add_bos, where));
  TRY_ASSIGN(t.add_eos, gguf_flag(metadata, "tokenizer.ggml.add_eos_token", t.add_eos, where));
  if (*name == "bert") { // these are put around a text whatever the keys say
    t.add_bos = t.add_sep = true;
    t.add_eos = false;
  } else if (*name == "gpt2") {
    // llama.cpp falls back to id 11, which stands for some letter or sign unless the file is an old
    // Falcon: only taken when a text cannot do without.
    t.bos_id = t.add_bos ? 11 : -1;
    t.eos_id = t.add_eos ? 11 : -1;
  }
  TRY_ASSIGN(t.bos_id, token_id(metadata, "tokenizer.ggml.bos_token_id", t.bos_id, count, where));
  TRY_ASSIGN(t.eos_id, token_id(metadata, "tokenizer.ggml.eos_token_id", t.eos_id, count, where));
  TRY_ASSIGN(t.unk_id,
             token_id(metadata, "tokenizer.ggml.unknown_token_id", t.unk_id, count, where));
  TRY_ASSIGN(t.pad_id,
             token_id(metadata, "tokenizer.ggml.padding_token_id", t.pad_id, count, where));
  TRY_ASSIGN(t.sep_id,
             token_id(metadata, "tokenizer.ggml.seperator_token_id", t.sep_id, count, where));
  if ((t.add_bos && t.bos_id < 0) || (t.add_eos && t.eos_id < 0) || (t.add_sep && t.sep_id < 0))
    return bad("A token is to be added to every text (add_bos_token, add_eos_token), but its id is "
               "missing",
               where);
  if (const GgufValue* text = find(metadata, "tokenizer.chat_template"))
    t.template_text = text->as_string().value_or("");
  if (const GgufValue* named = find(metadata, "general.name")) {
    const auto lower = lower_case(valid_utf8(named->as_string().value_or("")));
    t.strip_after_special =
        lower.find("phi-3") != std::string::npos || lower.find("phi3") != std::string::npos;
  }
  return std::shared_ptr<const Tokenizer>(std::move(tokenizer));
}

} // namespace bitlathe::text
