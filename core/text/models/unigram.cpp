// SPDX-License-Identifier: Apache-2.0
#include "core/text/unigram.h"

#include "core/text/charsmap.h"
#include "core/text/hf_tokenizer.h"
#include "core/text/stage_facts.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

namespace bitlathe {

extern const TokenModelKind token_model_unigram;

namespace {

using namespace text;

/// A decimal number as serde_json reads it: all digits as one whole number, scaled by a power of
/// ten. That can be one unit in the last place away from the nearest value, and decides ties.
double as_serde_reads(double exact) {
  char text[40];
  const auto end =
      std::to_chars(text, text + sizeof text, exact, std::chars_format::scientific).ptr;
  std::uint64_t digits = 0;
  int exponent = 0;
  bool fraction = false;
  const char* at = text + (text[0] == '-');
  for (; at < end && *at != 'e'; ++at) {
    if (*at == '.') {
      fraction = true;
      continue;
    }
    if (*at < '0' || *at > '9')
      return exact;                                  // no number at all
    digits = digits * 10 + std::uint64_t(*at - '0'); // at most 17 of them
    exponent -= fraction;
  }
  int scale = 0;
  std::from_chars(at + (at + 1 < end && at[1] == '+' ? 2 : 1), end, scale);
  exponent += scale;
  // Whole numbers are exact, and tiny ones are written differently.
  if (exponent > 0 || exponent < -22 || std::abs(exact) < 1e-5)
    return exact;
  const double value = double(digits) / std::pow(10.0, -exponent);
  return exact < 0 ? -value : value;
}

struct UnigramModel final : TokenModel {
  Vocabulary vocabulary;
  Unigram<double> unigram;
  std::int32_t unknown_id = -1;
  bool byte_fallback = false;
  std::int32_t byte_ids[256];

  std::string kind(bool) const override { return "unigram"; }
  std::int32_t find(std::string_view token) const override { return find_token(vocabulary, token); }
  std::int32_t unknown() const override { return unknown_id; }

  void encode(std::string_view piece, std::vector<std::int32_t>& out) const override {
    unigram.cut(piece, true, [&](std::string_view part, std::int32_t id) {
      // Unknown parts that were joined may make a token after all.
      id = id < 0 ? find(part) : id;
      if (id >= 0) {
        out.push_back(id);
        return;
      }
      const bool spelled = byte_fallback && std::all_of(part.begin(), part.end(), [&](char c) {
                             return byte_ids[static_cast<unsigned char>(c)] >= 0;
                           });
      if (spelled)
        for (const char c : part)
          out.push_back(byte_ids[static_cast<unsigned char>(c)]);
      else if (unknown_id >= 0)
        out.push_back(unknown_id);
    });
  }

  std::vector<float> scores(const TokenList& list) const override {
    std::vector<float> out(list.size(), 0.0f);
    for (std::size_t i = 0; i < std::min(out.size(), unigram.scores.size()); ++i)
      out[i] = float(unigram.scores[i]);
    return out;
  }
  Result<GgufPlan> plan_gguf(const HfTokenizer& tokenizer) const override;
};

Result<GgufPlan> UnigramModel::plan_gguf(const HfTokenizer& t) const {
  const auto cannot = [&](const std::string& what) {
    return Error{"unsupported", "GGUF cannot hold this tokenizer: " + what, t.where};
  };
  GgufPlan plan;
  plan.model = "t5";
  plan.pre = "default";
  plan.scores = true;
  bool prefix = false, one_space = false, marks = false;
  std::string charsmap;
  TRY_ASSIGN(const auto normalizers,
             stage_list(t.normalizer_json, "normalizer", "normalizers", t.where));
  for (const auto& stage : normalizers) {
    const auto type = text_of(stage, "type");
    if (type == "Precompiled") {
      TRY_ASSIGN(charsmap, from_base64(text_of(stage, "precompiled_charsmap"), t.where));
      plan.notes.push_back("llama.cpp replaces the longest text its character map knows, "
                           "the tokenizer.json the shortest: some combined characters differ");
    } else if (type == "Replace" && (stage["pattern"] == Json{{"Regex", " {2,}"}})) {
      one_space = true;
      marks = marks || text_of(stage, "content") == "\u2581";
    } else if (type == "Replace" && stage["pattern"] == Json{{"String", " "}} &&
               text_of(stage, "content") == "\u2581") {
      marks = true;
    } else if (type == "Prepend" && text_of(stage, "prepend") == "\u2581") {
      prefix = true;
    } else if (type == "Strip") {
      plan.notes.push_back("llama.cpp does not strip spaces at the ends of a text by itself");
    } else {
      return cannot("it has no place for the normalizer " + stage.dump());
    }
  }
  TRY_ASSIGN(const auto stages,
             stage_list(t.pre_tokenizer_json, "pre_tokenizer", "pretokenizers", t.where));
  for (const auto& stage : stages) {
    const auto type = text_of(stage, "type");
    if (type == "WhitespaceSplit") {
      one_space = true;
    } else if (type == "Metaspace" && text_of(stage, "replacement", "\u2581") == "\u2581") {
      marks = true;
      prefix = prefix || (text_of(stage, "prepend_scheme", "always") != "never" &&
                          flag_of(stage, "add_prefix_space", true));
    } else {
      return cannot("llama.cpp has no place for the pre-tokenizer " + stage.dump());
    }
  }
  if (!marks)
    return cannot("llama.cpp always writes spaces as \u2581, which this tokenizer does not");
  if (byte_fallback)
    plan.notes.push_back("llama.cpp does not spell unknown characters in bytes for this kind");
  plan.more.emplace_back("tokenizer.ggml.add_space_prefix", GgufValue::boolean(prefix));
  plan.more.emplace_back("tokenizer.ggml.remove_extra_whitespaces", GgufValue::boolean(one_space));
  if (!charsmap.empty())
    plan.more.emplace_back("tokenizer.ggml.precompiled_charsmap", gguf_bytes(charsmap));
  return plan;
}

Result<LoadedModel> load(const Json& json, TokenList& list, const std::string& where) {
  const auto bad = [&](const std::string& message) { return Error{"bad-file", message, where}; };
  LoadedModel out;
  auto model = std::make_unique<UnigramModel>();
  UnigramModel& m = *model;
  const auto vocab = json.find("vocab");
  if (vocab == json.end() || !vocab->is_array())
    return bad("The model has no \"vocab\" list");
  if (vocab->empty())
    return bad("The vocabulary is empty");
  double lowest = std::numeric_limits<double>::infinity();
  for (std::size_t id = 0; id < vocab->size(); ++id) {
    const Json& item = (*vocab)[id];
    if (!item.is_array() || item.size() != 2 || !item[0].is_string() || !item[1].is_number())
      return bad("Entry " + std::to_string(id) + " of the vocabulary is not [token, score]");
    const auto& token = item[0].get_ref<const std::string&>();
    TRY(list.place(token, std::int64_t(id), where));
    m.vocabulary[token] = std::int32_t(id); // of two alike the later one counts
    m.unigram.trie.insert(token, std::uint32_t(id));
    m.unigram.scores.push_back(as_serde_reads(item[1].get<double>()));
    lowest = std::min(lowest, m.unigram.scores.back());
  }
  m.unigram.unknown_score = lowest - 10.0;
  TRY_ASSIGN(const auto unknown, json_int_or(json, "unk_id", -1, where));
  if (unknown < -1 || unknown >= std::int64_t(list.size()))
    return bad("The unk_id " + std::to_string(unknown) + " is not in the vocabulary");
  m.unknown_id = m.unigram.unknown_id = std::int32_t(unknown);
  if (unknown >= 0)
    list.kinds[std::size_t(unknown)] = TokenKind::unknown;
  else
    out.notes.push_back(
        "The tokenizer has no token for unknown characters; they are left out of the ids");
  TRY_ASSIGN(m.byte_fallback, json_bool_or(json, "byte_fallback", false, where));
  for (int b = 0; b < 256; ++b)
    m.byte_ids[b] = m.find(byte_token(static_cast<unsigned char>(b)));
  if (m.byte_fallback)
    list.mark_bytes();
  out.model = std::move(model);
  return out;
}

} // namespace

const TokenModelKind token_model_unigram{
    "Unigram", [](const Json& m) { return m.contains("vocab") && m["vocab"].is_array(); }, load};

} // namespace bitlathe
