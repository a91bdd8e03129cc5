// SPDX-License-Identifier: Apache-2.0
// Reads the tokenizer.ggml.* keys with the defaults and corrections that llama.cpp applies.
#include "core/text/gguf_tokenizer.h"
#include "core/text/pattern.h"
#include "core/text/unicode.h"

#include <algorithm>
#include <cmath>

namespace bitlathe::text {

namespace {

Error bad(const std::string& message, const std::string& where) {
  return {"bad-file", message, where};
}

const GgufArray* find_array(const GgufMetadata& metadata, std::string_view key) {
  const GgufValue* value = find(metadata, key);
  const auto* array = value ? std::get_if<std::shared_ptr<GgufArray>>(&value->value) : nullptr;
  return array ? array->get() : nullptr;
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

Result<bool> flag(const GgufMetadata& metadata, std::string_view key, bool otherwise,
                  const std::string& where) {
  const GgufValue* value = find(metadata, key);
  if (!value)
    return otherwise;
  if (const bool* set = std::get_if<bool>(&value->value))
    return *set;
  return bad("\"" + std::string(key) + "\" must be true or false", where);
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
                                              "<end_of_utterance>"};
  return std::find(names.begin(), names.end(), text) != names.end();
}

Result<void> load_tokens(GgufTokenizer& t) {
  const auto* tokens = find_array(t.metadata, "tokenizer.ggml.tokens");
  if (!tokens)
    return bad("There is no list \"tokenizer.ggml.tokens\"", t.where);
  if (tokens->empty())
    return bad("\"tokenizer.ggml.tokens\" is empty", t.where);
  t.tokens.reserve(tokens->size());
  for (std::size_t i = 0; i < tokens->size(); ++i) {
    auto text = (*tokens)[i].as_string();
    if (!text)
      return bad("Token " + std::to_string(i) + " is not a text", t.where);
    if (text->empty())
      text = "[EMPTY_" + std::to_string(i) + "]";
    if (!t.bpe.vocabulary.emplace(*text, std::int32_t(i)).second)
      return bad("The token \"" + *text + "\" is listed twice", t.where);
    t.longest_token = std::max(t.longest_token, text->size());
    std::size_t pos = 0;
    for (char32_t before = next_char(*text, pos); t.spm && pos < text->size();) {
      const char32_t c = next_char(*text, pos);
      t.joints.insert(std::uint64_t(before) << 32 | c);
      before = c;
    }
    t.tokens.push_back(std::move(*text));
  }

  t.kinds.assign(t.tokens.size(), TokenKind::normal);
  t.scores.assign(t.tokens.size(), 0.0f);
  if (const auto* types = find_array(t.metadata, "tokenizer.ggml.token_type")) {
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
  if (const auto* scores = find_array(t.metadata, "tokenizer.ggml.scores")) {
    if (scores->size() < t.tokens.size())
      return bad("\"tokenizer.ggml.scores\" is shorter than the list of tokens", t.where);
    for (std::size_t i = 0; i < t.tokens.size(); ++i) {
      const auto score = (*scores)[i].as_number();
      if (!score || std::isnan(*score))
        return bad("The score of token " + std::to_string(i) + " is not a number", t.where);
      t.scores[i] = float(*score);
    }
  }
  constexpr char hex[] = "0123456789ABCDEF";
  for (int b = 0; b < 256; ++b) {
    t.byte_tokens[b] = t.bpe.find(std::string("<0x") + hex[b >> 4] + hex[b & 15] + ">");
    if (t.byte_tokens[b] < 0 && t.spm)
      t.byte_tokens[b] = t.bpe.find(std::string(1, char(b)));
  }
  for (std::size_t i = 0; i < t.tokens.size(); ++i) {
    if (looks_like_control(t.tokens[i]))
      t.kinds[i] = TokenKind::control;
    const auto kind = t.kinds[i];
    if (kind == TokenKind::control || kind == TokenKind::user_defined || kind == TokenKind::unknown)
      t.specials.insert(t.tokens[i], i);
  }
  return {};
}

Result<void> load_pre(GgufTokenizer& t, const GgufPre& pre) {
  for (const auto& pattern : pre.patterns) {
    const Json split{{"type", "Split"}, {"pattern", {{"Regex", pattern}}}};
    TRY_ASSIGN(auto steps, parse_pre_tokenizer(split, t.where));
    std::move(steps.begin(), steps.end(), std::back_inserter(t.pre_tokenizer));
  }
  t.pre_tokenizer.push_back([](std::vector<Piece>& pieces) {
    for (auto& piece : pieces)
      piece.text = to_printable(piece.text);
  });
  return {};
}

Result<void> load_merges(GgufTokenizer& t) {
  const auto* merges = find_array(t.metadata, "tokenizer.ggml.merges");
  if (!merges)
    return bad("There is no list \"tokenizer.ggml.merges\"", t.where);
  // llama.cpp merges texts and looks for tokens at the end. What has no token gets an id behind
  // them, so that it takes part in merging but not in the result.
  auto spare = std::int32_t(t.tokens.size());
  const auto id_of = [&](const std::string& text) {
    const auto [it, added] = t.bpe.vocabulary.try_emplace(text, spare);
    spare += added;
    return it->second;
  };
  t.bpe.whole_word_limit = spare;
  for (int b = 0; b < 256; ++b)
    id_of(std::string(byte_to_printable(static_cast<unsigned char>(b))));
  t.bpe.merges.reserve(merges->size());
  for (std::size_t i = 0; i < merges->size(); ++i) {
    const auto text = (*merges)[i].as_string();
    const auto space = text ? text->find(' ', 1) : std::string::npos;
    if (space == std::string::npos)
      return bad("Merge " + std::to_string(i) + " is not two pieces with a space between", t.where);
    const auto left = text->substr(0, space), right = text->substr(space + 1);
    const auto left_id = id_of(left), right_id = id_of(right), joined = id_of(left + right);
    if (t.bpe.merges.find(left_id, right_id).rank < 0)
      t.bpe.merges.insert(left_id, right_id, {std::int32_t(i), joined});
  }
  return {};
}

} // namespace

Result<std::shared_ptr<const Tokenizer>> load_gguf_tokenizer(const GgufMetadata& metadata,
                                                             const std::string& where) {
  auto tokenizer = std::make_shared<GgufTokenizer>();
  GgufTokenizer& t = *tokenizer;
  t.where = where;
  for (const auto& entry : metadata)
    if (entry.first.compare(0, 10, "tokenizer.") == 0)
      t.metadata.push_back(entry);

  const GgufValue* model = find(metadata, "tokenizer.ggml.model");
  const auto model_name = model ? model->as_string() : std::nullopt;
  if (!model_name)
    return Error{"not-found", "The file has no tokenizer (\"tokenizer.ggml.model\")", where};
  t.spm = *model_name == "llama";
  if (!t.spm && *model_name != "gpt2")
    return Error{"unsupported", "The tokenizer model \"" + *model_name + "\" is not supported",
                 where};
  TRY(load_tokens(t));

  GgufPre pre;
  if (!t.spm) {
    const GgufValue* named = find(metadata, "tokenizer.ggml.pre");
    const auto name = named ? named->as_string().value_or("") : std::string();
    const GgufPre* known = find_gguf_pre(name.empty() ? "default" : name);
    if (!known)
      return Error{"unsupported", "The pre-tokenizer \"" + name + "\" is not supported", where};
    pre = *known;
    TRY(load_pre(t, pre));
    t.bpe.whole_words_first = pre.whole_words_first;
    TRY(load_merges(t));
    t.bpe.prepare();
  }
  const auto count = t.tokens.size();
  TRY_ASSIGN(t.add_bos,
             flag(metadata, "tokenizer.ggml.add_bos_token", t.spm || pre.add_bos, where));
  TRY_ASSIGN(t.add_eos, flag(metadata, "tokenizer.ggml.add_eos_token", false, where));
  // llama.cpp falls back to ids 1 and 2 for "llama", and to 11 for "gpt2", where it stands for some
  // letter or sign unless the file is an old Falcon: only taken when a text cannot do without.
  TRY_ASSIGN(t.bos_id, token_id(metadata, "tokenizer.ggml.bos_token_id",
                                t.spm       ? 1
                                : t.add_bos ? 11
                                            : -1,
                                count, where));
  TRY_ASSIGN(t.eos_id, token_id(metadata, "tokenizer.ggml.eos_token_id",
                                t.spm       ? 2
                                : t.add_eos ? 11
                                            : -1,
                                count, where));
  TRY_ASSIGN(t.unk_id,
             token_id(metadata, "tokenizer.ggml.unknown_token_id", t.spm ? 0 : -1, count, where));
  TRY_ASSIGN(t.pad_id, token_id(metadata, "tokenizer.ggml.padding_token_id", -1, count, where));
  TRY_ASSIGN(t.add_space_prefix, flag(metadata, "tokenizer.ggml.add_space_prefix", t.spm, where));
  if ((t.add_bos && t.bos_id < 0) || (t.add_eos && t.eos_id < 0))
    return bad("A token is to be added to every text (add_bos_token, add_eos_token), but its id is "
               "missing",
               where);
  if (const GgufValue* text = find(metadata, "tokenizer.chat_template"))
    t.template_text = text->as_string().value_or("");
  if (const GgufValue* named = find(metadata, "general.name")) {
    const auto name = lower_case(named->as_string().value_or(""));
    t.strip_after_special =
        name.find("phi-3") != std::string::npos || name.find("phi3") != std::string::npos;
  }
  return std::shared_ptr<const Tokenizer>(std::move(tokenizer));
}

} // namespace bitlathe::text
