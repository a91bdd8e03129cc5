// SPDX-License-Identifier: Apache-2.0
// Writes a tokenizer.json as tokenizer.ggml.* keys. What llama.cpp cannot do with them is refused,
// or, where texts of the usual kind come out the same, said in gguf_notes().
#include "core/text/gguf_tokenizer.h"
#include "core/text/hf_tokenizer.h"
#include "core/text/pattern.h"
#include "core/text/unicode.h"

#include <algorithm>
#include <unordered_set>

namespace bitlathe::text {

namespace {

constexpr std::string_view space_mark = "\u2581";

Error cannot(const std::string& what, const std::string& where) {
  return {"unsupported", "GGUF cannot hold this tokenizer: " + what, where};
}

// Members of stages that the parsers have accepted: absent and null mean the default.
std::string text_of(const Json& stage, const char* key, std::string_view otherwise = {}) {
  const auto it = stage.find(key);
  return it != stage.end() && it->is_string() ? it->get<std::string>() : std::string(otherwise);
}
bool flag_of(const Json& stage, const char* key, bool otherwise) {
  const auto it = stage.find(key);
  return it != stage.end() && it->is_boolean() ? it->get<bool>() : otherwise;
}

/// Spelling differences that do not change what a pattern matches.
std::string same_spelling(std::string pattern) {
  const auto replace = [&](std::string_view from, std::string_view to) {
    for (auto at = pattern.find(from); at != std::string::npos;
         at = pattern.find(from, at + to.size()))
      pattern.replace(at, from.size(), to);
  };
  replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)",
          "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])");
  replace("\\p{N}{1}", "\\p{N}");
  replace("\r", "\\r");
  replace("\n", "\\n");
  return pattern;
}

bool is_split(const Json& stage, std::string& pattern) {
  if (text_of(stage, "type") != "Split" || !stage["pattern"].contains("Regex"))
    return false;
  pattern = same_spelling(stage["pattern"]["Regex"].get<std::string>());
  const auto behavior = text_of(stage, "behavior", "Isolated");
  // The patterns in use cover the whole text, so removing what they do not match is isolating.
  const bool inverted = stage.contains("invert") && stage["invert"] == true;
  return inverted ? behavior == "Removed" || behavior == "Isolated" : behavior == "Isolated";
}

bool is_byte_level(const Json& stage, bool regex) {
  return text_of(stage, "type") == "ByteLevel" && flag_of(stage, "use_regex", true) == regex &&
         !flag_of(stage, "add_prefix_space", true);
}

/// The name of the pre-tokenizer in llama.cpp that splits like these stages; empty: there is none.
std::string pre_name(const std::vector<Json>& stages, bool whole_words_first) {
  if (stages.size() == 1 && is_byte_level(stages[0], true))
    return "gpt-2";
  std::string pattern;
  if (stages.size() == 2 && is_split(stages[0], pattern) && is_byte_level(stages[1], false)) {
    for (const char* name : {"llama-bpe", "dbrx", "qwen2", "qwen35"}) {
      const GgufPre* pre = find_gguf_pre(name);
      if (pre->patterns[0] == pattern && pre->whole_words_first == whole_words_first)
        return name;
    }
    for (const char* name : {"dbrx", "qwen2", "qwen35"}) // the flag differs: noted when it matters
      if (find_gguf_pre(name)->patterns[0] == pattern)
        return name;
    return {};
  }
  if (stages.size() == 2 && text_of(stages[0], "type") == "Digits" &&
      flag_of(stages[0], "individual_digits", false) && is_byte_level(stages[1], true))
    return "smollm";
  if (stages.size() == 4 && text_of(stages[0], "type") == "Punctuation" &&
      text_of(stages[0], "behavior", "Isolated") == "Contiguous" &&
      is_byte_level(stages[1], true) && text_of(stages[2], "type") == "Digits" &&
      !flag_of(stages[2], "individual_digits", false) && is_split(stages[3], pattern) &&
      pattern == "[0-9][0-9][0-9]")
    return "falcon";
  return {};
}

bool is_space_replace(const Json& stage) {
  return text_of(stage, "type") == "Replace" && text_of(stage["pattern"], "String") == " " &&
         text_of(stage, "content") == space_mark;
}

bool is_unicode_form(const Json& stage) {
  const auto type = text_of(stage, "type");
  return type == "NFC" || type == "NFD" || type == "NFKC" || type == "NFKD";
}

struct Plan {
  bool spm = false;
  bool space_prefix = false;
  std::string pre;
  std::vector<std::string> notes;
};

Result<Plan> plan_bytes(const HfTokenizer& t, const std::vector<Json>& normalizers,
                        const std::vector<Json>& stages) {
  Plan plan;
  for (const auto& stage : normalizers) {
    if (!is_unicode_form(stage))
      return cannot("it has no place for the normalizer " + stage.dump(), t.where);
    plan.notes.push_back("llama.cpp does not normalize text (" + text_of(stage, "type") +
                         "): text that is not in that form gets other ids there");
  }
  plan.pre = pre_name(stages, t.bpe.whole_words_first);
  if (plan.pre.empty())
    return cannot("llama.cpp has no pre-tokenizer that splits like " + t.pre_tokenizer_json.dump(),
                  t.where);
  if (find_gguf_pre(plan.pre)->whole_words_first != t.bpe.whole_words_first) {
    // Only matters for a token that its own merges do not lead to.
    std::size_t unreachable = 0;
    Bpe merging = t.bpe;
    merging.whole_words_first = false;
    for (std::size_t id = 0; id < t.tokens.size(); ++id) {
      std::vector<std::int32_t> ids;
      if (t.kinds[id] == TokenKind::normal)
        merging.encode(t.tokens[id], ids);
      unreachable += ids.size() > 1;
    }
    if (unreachable)
      plan.notes.push_back("llama.cpp " +
                           std::string(t.bpe.whole_words_first ? "does not take" : "takes") +
                           " words that are tokens before merging with this pre-tokenizer; " +
                           std::to_string(unreachable) + " tokens are concerned");
  }
  return plan;
}

Result<Plan> plan_spm(const HfTokenizer& t, const std::vector<Json>& normalizers,
                      const std::vector<Json>& stages) {
  Plan plan;
  plan.spm = true;
  bool replaces = false;
  for (const auto& stage : normalizers) {
    if (text_of(stage, "type") == "Prepend" && text_of(stage, "prepend") == space_mark)
      plan.space_prefix = true;
    else if (is_space_replace(stage))
      replaces = true;
    else if (is_unicode_form(stage))
      plan.notes.push_back("llama.cpp does not normalize text (" + text_of(stage, "type") +
                           "): text that is not in that form gets other ids there");
    else
      return cannot("it has no place for the normalizer " + stage.dump(), t.where);
  }
  for (const auto& stage : stages) {
    std::string pattern;
    if (text_of(stage, "type") == "Metaspace" &&
        text_of(stage, "replacement", space_mark) == space_mark) {
      replaces = true;
      const bool never = text_of(stage, "prepend_scheme", "always") == "never" ||
                         !flag_of(stage, "add_prefix_space", true);
      plan.space_prefix = plan.space_prefix || !never;
      if (!never)
        plan.notes.push_back("llama.cpp puts a space before every text, also before one that "
                             "begins with a space or follows a special token");
      if (flag_of(stage, "split", true) &&
          std::any_of(t.tokens.begin(), t.tokens.end(), [](const std::string& token) {
            return token.find(space_mark, 1) != std::string::npos &&
                   token.find_first_not_of(space_mark) != std::string::npos;
          }))
        return cannot("it splits at spaces, but llama.cpp would merge across them", t.where);
    } else if (text_of(stage, "type") == "Split" && replaces &&
               text_of(stage["pattern"], "String") == " ") {
      continue; // no space is left to split at
    } else {
      return cannot("llama.cpp has no place for the pre-tokenizer " + stage.dump(), t.where);
    }
  }
  if (!replaces)
    return cannot("llama.cpp always writes spaces as \u2581, which this tokenizer does not",
                  t.where);

  // llama.cpp merges any two neighbours that make a token, the best score first. That is what the
  // merges say only if they list every such pair, and all pairs of a token in one place.
  std::unordered_set<std::string> listed;
  for (const auto& [left, right] : t.merge_list)
    listed.insert(left + '\n' + std::to_string(left.size()) + '\n' + right);
  std::size_t unlisted = 0;
  for (std::size_t id = 0; id < t.tokens.size(); ++id) {
    const std::string& token = t.tokens[id];
    if (t.kinds[id] != TokenKind::normal)
      continue;
    for (std::size_t cut = 1; cut < token.size(); ++cut) {
      const auto left = token.substr(0, cut), right = token.substr(cut);
      if (t.bpe.find(left) >= 0 && t.bpe.find(right) >= 0 &&
          !listed.count(left + '\n' + std::to_string(left.size()) + '\n' + right)) {
        ++unlisted;
        break;
      }
    }
  }
  if (unlisted)
    plan.notes.push_back("llama.cpp merges any two neighbours that make a token; for " +
                         std::to_string(unlisted) +
                         " tokens the tokenizer.json allows fewer pairs, so some words may be "
                         "split differently there");

  const bool all_bytes = [&] {
    constexpr char hex[] = "0123456789ABCDEF";
    for (int b = 0; b < 256; ++b)
      if (t.bpe.find(std::string("<0x") + hex[b >> 4] + hex[b & 15] + ">") < 0)
        return false;
    return true;
  }();
  if (!all_bytes)
    plan.notes.push_back("The vocabulary has no byte tokens: llama.cpp stops with an error on a "
                         "character that is not in it, where this tokenizer gives " +
                         (t.unk_id >= 0 ? t.token(t.unk_id) : std::string("nothing")));
  else if (!t.bpe.byte_fallback)
    plan.notes.push_back("llama.cpp spells unknown characters in byte tokens, which this "
                         "tokenizer.json does not ask for");
  return plan;
}

Result<Plan> make_plan(const HfTokenizer& t) {
  TRY_ASSIGN(const auto normalizers,
             stage_list(t.normalizer_json, "normalizer", "normalizers", t.where));
  TRY_ASSIGN(const auto stages,
             stage_list(t.pre_tokenizer_json, "pre_tokenizer", "pretokenizers", t.where));
  if (!t.bpe.continuing_prefix.empty() || !t.bpe.end_suffix.empty())
    return cannot("it marks the parts of words (continuing_subword_prefix, end_of_word_suffix)",
                  t.where);
  TRY_ASSIGN(auto plan,
             t.byte_level ? plan_bytes(t, normalizers, stages) : plan_spm(t, normalizers, stages));
  if (t.prefix.size() > 1 || t.suffix.size() > 1 || (t.prefix.size() == 1 && !t.adds_bos()) ||
      (t.suffix.size() == 1 && !t.adds_eos()))
    plan.notes.push_back("llama.cpp puts at most one begin and one end token around a text; the "
                         "template of this tokenizer puts others");
  std::size_t stripping = 0;
  for (const auto& token : t.added.tokens())
    stripping += token.left_strip || token.right_strip || token.single_word;
  if (stripping)
    plan.notes.push_back("llama.cpp does not know that " + std::to_string(stripping) +
                         " added tokens swallow spaces or must be whole words");
  if (t.eos_id < 0)
    plan.notes.push_back("The tokenizer names no end-of-text token; llama.cpp then takes id " +
                         std::string(plan.spm ? "2" : "11"));
  return plan;
}

} // namespace

std::vector<std::string> HfTokenizer::gguf_notes() const {
  const auto plan = make_plan(*this);
  return plan ? plan->notes : std::vector<std::string>{plan.error().message};
}

Result<GgufMetadata> HfTokenizer::to_gguf(std::int64_t rows) const {
  TRY_ASSIGN(const auto plan, make_plan(*this));
  const auto have = std::int64_t(tokens.size());
  if (rows < have)
    return Error{"mismatch",
                 "The tokenizer has " + std::to_string(have) + " tokens, but the model only " +
                     std::to_string(rows) + " embedding rows",
                 where};

  std::vector<std::string> texts = tokens;
  std::vector<std::int32_t> types;
  Vocabulary taken = bpe.vocabulary;
  for (const auto& token : added.tokens())
    taken.emplace(token.content, token.id);
  texts.resize(std::size_t(rows));
  for (std::int64_t id = 0; id < rows; ++id) {
    const auto kind = token_kind(std::int32_t(id));
    if (kind == TokenKind::unused)
      texts[std::size_t(id)] = filler_token(id, taken);
    types.push_back(std::int32_t(kind));
  }

  GgufMetadata out;
  const auto add = [&](const char* key, GgufValue value) {
    out.emplace_back(key, std::move(value));
  };
  add("tokenizer.ggml.model", GgufValue::string(plan.spm ? "llama" : "gpt2"));
  add("tokenizer.ggml.pre", GgufValue::string(plan.spm ? "default" : plan.pre));
  add("tokenizer.ggml.tokens", GgufValue::strings(texts));
  if (plan.spm) {
    // Merges in rank order become scores; what no merge makes must not be preferred to them.
    std::vector<float> scores(std::size_t(rows), -1e9f);
    for (std::size_t id = 0; id < tokens.size(); ++id) {
      std::size_t pos = 0;
      if (!tokens[id].empty())
        next_char(tokens[id], pos);
      if (kinds[id] != TokenKind::normal || pos == tokens[id].size())
        scores[id] = 0.0f;
    }
    for (std::size_t rank = merge_list.size(); rank-- > 0;)
      scores[std::size_t(bpe.find(merge_list[rank].first + merge_list[rank].second))] =
          -float(rank);
    add("tokenizer.ggml.scores", GgufValue::f32s(scores));
  }
  add("tokenizer.ggml.token_type", GgufValue::i32s(types));
  if (!plan.spm) {
    std::vector<std::string> merges;
    merges.reserve(merge_list.size());
    for (const auto& [left, right] : merge_list)
      merges.push_back(left + " " + right);
    add("tokenizer.ggml.merges", GgufValue::strings(merges));
  }
  const auto add_id = [&](const char* key, std::int32_t id) {
    if (id >= 0)
      add(key, GgufValue::u32(std::uint32_t(id)));
  };
  add_id("tokenizer.ggml.bos_token_id", bos_id);
  add_id("tokenizer.ggml.eos_token_id", eos_id);
  add_id("tokenizer.ggml.unknown_token_id", unk_id);
  add_id("tokenizer.ggml.padding_token_id", pad_id);
  add("tokenizer.ggml.add_bos_token", GgufValue::boolean(adds_bos()));
  add("tokenizer.ggml.add_eos_token", GgufValue::boolean(adds_eos()));
  if (plan.spm)
    add("tokenizer.ggml.add_space_prefix", GgufValue::boolean(plan.space_prefix));
  if (!template_text.empty())
    add("tokenizer.chat_template", GgufValue::string(template_text));
  return out;
}

} // namespace bitlathe::text
