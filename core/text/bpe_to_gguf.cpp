// SPDX-License-Identifier: Apache-2.0
// Byte-pair encoding of a tokenizer.json as GGUF keys: "gpt2" where tokens are bytes, "llama" where
// they are text.
#include "core/text/bpe_model.h"
#include "core/text/gguf_tokenizer.h"
#include "core/text/hf_tokenizer.h"
#include "core/text/stage_facts.h"
#include "core/text/unicode.h"

#include <algorithm>
#include <unordered_set>

namespace bitlathe::text {

namespace {

constexpr std::string_view space_mark = "\u2581";

Error cannot(const std::string& what, const std::string& where) {
  return {"unsupported", "GGUF cannot hold this tokenizer: " + what, where};
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

Result<GgufPlan> plan_bytes(const BpeModel& m, const HfTokenizer& t,
                            const std::vector<Json>& normalizers, const std::vector<Json>& stages) {
  GgufPlan plan;
  plan.model = "gpt2";
  for (const auto& stage : normalizers) {
    if (!is_unicode_form(stage))
      return cannot("it has no place for the normalizer " + stage.dump(), t.where);
    plan.notes.push_back("llama.cpp does not normalize text (" + text_of(stage, "type") +
                         "): text that is not in that form gets other ids there");
  }
  plan.pre = pre_name(stages, m.bpe.whole_words_first);
  if (plan.pre.empty())
    return cannot("llama.cpp has no pre-tokenizer that splits like " + t.pre_tokenizer_json.dump(),
                  t.where);
  if (find_gguf_pre(plan.pre)->whole_words_first != m.bpe.whole_words_first) {
    // Only matters for a token that its own merges do not lead to.
    std::size_t unreachable = 0;
    Bpe merging = m.bpe;
    merging.whole_words_first = false;
    for (std::size_t id = 0; id < t.list.tokens.size(); ++id) {
      std::vector<std::int32_t> ids;
      if (t.list.kinds[id] == TokenKind::normal)
        merging.encode(t.list.tokens[id], ids);
      unreachable += ids.size() > 1;
    }
    if (unreachable)
      plan.notes.push_back("llama.cpp " +
                           std::string(m.bpe.whole_words_first ? "does not take" : "takes") +
                           " words that are tokens before merging with this pre-tokenizer; " +
                           std::to_string(unreachable) + " tokens are concerned");
  }
  std::vector<std::string> merges;
  merges.reserve(m.merge_list.size());
  for (const auto& [left, right] : m.merge_list)
    merges.push_back(left + " " + right);
  plan.more.emplace_back("tokenizer.ggml.merges", GgufValue::strings(merges));
  return plan;
}

Result<GgufPlan> plan_spm(const BpeModel& m, const HfTokenizer& t,
                          const std::vector<Json>& normalizers, const std::vector<Json>& stages) {
  GgufPlan plan;
  plan.model = "llama";
  plan.pre = "default";
  plan.scores = true;
  bool space_prefix = false;
  bool replaces = false;
  for (const auto& stage : normalizers) {
    if (text_of(stage, "type") == "Prepend" && text_of(stage, "prepend") == space_mark)
      space_prefix = true;
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
      space_prefix = space_prefix || !never;
      if (!never)
        plan.notes.push_back("llama.cpp puts a space before every text, also before one that "
                             "begins with a space or follows a special token");
      if (flag_of(stage, "split", true) &&
          std::any_of(t.list.tokens.begin(), t.list.tokens.end(), [](const std::string& token) {
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
  for (const auto& [left, right] : m.merge_list)
    listed.insert(left + '\n' + std::to_string(left.size()) + '\n' + right);
  std::size_t unlisted = 0;
  for (std::size_t id = 0; id < t.list.tokens.size(); ++id) {
    const std::string& token = t.list.tokens[id];
    if (t.list.kinds[id] != TokenKind::normal)
      continue;
    for (std::size_t cut = 1; cut < token.size(); ++cut) {
      const auto left = token.substr(0, cut), right = token.substr(cut);
      if (m.bpe.find(left) >= 0 && m.bpe.find(right) >= 0 &&
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
      if (m.bpe.find(std::string("<0x") + hex[b >> 4] + hex[b & 15] + ">") < 0)
        return false;
    return true;
  }();
  if (!all_bytes)
    plan.notes.push_back("The vocabulary has no byte tokens: llama.cpp stops with an error on a "
                         "character that is not in it, where this tokenizer gives " +
                         (t.unk_id >= 0 ? t.token(t.unk_id) : std::string("nothing")));
  else if (!m.bpe.byte_fallback)
    plan.notes.push_back("llama.cpp spells unknown characters in byte tokens, which this "
                         "tokenizer.json does not ask for");
  plan.more.emplace_back("tokenizer.ggml.add_space_prefix", GgufValue::boolean(space_prefix));
  return plan;
}

} // namespace

Result<GgufPlan> BpeModel::plan_gguf(const HfTokenizer& t) const {
  TRY_ASSIGN(const auto normalizers,
             stage_list(t.normalizer_json, "normalizer", "normalizers", t.where));
  TRY_ASSIGN(const auto stages,
             stage_list(t.pre_tokenizer_json, "pre_tokenizer", "pretokenizers", t.where));
  if (!bpe.continuing_prefix.empty() || !bpe.end_suffix.empty())
    return cannot("it marks the parts of words (continuing_subword_prefix, end_of_word_suffix)",
                  t.where);
  return t.byte_level ? plan_bytes(*this, t, normalizers, stages)
                      : plan_spm(*this, t, normalizers, stages);
}

std::vector<float> BpeModel::scores(const TokenList& list) const {
  // Merges in rank order become scores; what no merge makes must not be preferred to them.
  std::vector<float> scores(list.size(), -1e9f);
  for (std::size_t id = 0; id < list.size(); ++id) {
    std::size_t pos = 0;
    if (!list.tokens[id].empty())
      next_char(list.tokens[id], pos);
    if (list.kinds[id] != TokenKind::normal || pos == list.tokens[id].size())
      scores[id] = 0.0f;
  }
  for (std::size_t rank = merge_list.size(); rank-- > 0;)
    if (const auto id = bpe.find(merge_list[rank].first + merge_list[rank].second); id >= 0)
      scores[std::size_t(id)] = -float(rank);
  return scores;
}

} // namespace bitlathe::text
