// SPDX-License-Identifier: Apache-2.0
#include "core/text/tiktoken.h"

#include "core/text/bpe_model.h"
#include "core/text/charsmap.h"
#include "core/text/patterns.h"
#include "core/text/unicode.h"

#include <algorithm>

namespace bitlathe::text {

namespace {

struct Special {
  const char* text;
  int offset; ///< from the number of ranks
};

/// Encodings that are known by their size. The special tokens are not in the file either.
struct Known {
  const char* name; ///< also what a file's name holds
  std::size_t ranks;
  const char* pattern;
  std::vector<Special> specials;
  const char* bos; ///< put in front of every text; empty: none
  const char* eos;
};

const std::vector<Known>& known_encodings() {
  static const std::vector<Known> table{
      {"llama3",
       128000,
       pattern_llama3,
       {{"<|begin_of_text|>", 0},
        {"<|end_of_text|>", 1},
        {"<|finetune_right_pad_id|>", 4},
        {"<|start_header_id|>", 6},
        {"<|end_header_id|>", 7},
        {"<|eom_id|>", 8},
        {"<|eot_id|>", 9},
        {"<|python_tag|>", 10}},
       "<|begin_of_text|>",
       "<|end_of_text|>"},
      {"cl100k",
       100256,
       pattern_cl100k,
       {{"<|endoftext|>", 1},
        {"<|fim_prefix|>", 2},
        {"<|fim_middle|>", 3},
        {"<|fim_suffix|>", 4},
        {"<|endofprompt|>", 20}},
       "",
       "<|endoftext|>"},
      {"o200k",
       199998,
       pattern_o200k,
       {{"<|endoftext|>", 1}, {"<|endofprompt|>", 20}},
       "",
       "<|endoftext|>"},
      {"qwen",
       151643,
       pattern_qwen2,
       {{"<|endoftext|>", 0}, {"<|im_start|>", 1}, {"<|im_end|>", 2}},
       "",
       "<|endoftext|>"},
      {"r50k", 50256, pattern_gpt2, {{"<|endoftext|>", 0}}, "", "<|endoftext|>"},
      {"gpt2", 50256, pattern_gpt2, {{"<|endoftext|>", 0}}, "", "<|endoftext|>"},
      {"p50k", 50280, pattern_gpt2, {{"<|endoftext|>", -24}}, "", "<|endoftext|>"}};
  return table;
}

struct Ranks {
  std::vector<std::pair<std::string, std::int64_t>> tokens; ///< bytes and rank
};

Result<Ranks> parse(std::string_view bytes, const std::string& where) {
  Ranks out;
  std::size_t number = 0;
  while (!bytes.empty()) {
    const auto end = std::min(bytes.find('\n'), bytes.size());
    auto line = bytes.substr(0, end);
    bytes.remove_prefix(std::min(end + 1, bytes.size()));
    ++number;
    if (!line.empty() && line.back() == '\r')
      line.remove_suffix(1);
    if (line.empty())
      continue;
    const auto place = where + ", line " + std::to_string(number);
    const auto space = line.find(' ');
    const auto rank = space == std::string_view::npos ? std::string_view() : line.substr(space + 1);
    if (rank.empty() || rank.size() > 9 ||
        rank.find_first_not_of("0123456789") != std::string_view::npos)
      return Error{"bad-file", "A line is not a token in base64, a space and a rank", place};
    TRY_ASSIGN(auto token, from_base64(line.substr(0, space), place));
    if (token.empty())
      return Error{"bad-file", "A token is empty", place};
    out.tokens.emplace_back(std::move(token), std::stoll(std::string(rank)));
  }
  if (out.tokens.empty())
    return Error{"bad-file", "The file has no tokens", where};
  return out;
}

} // namespace

bool looks_like_tiktoken(std::string_view bytes) {
  const auto line = bytes.substr(0, std::min(bytes.find('\n'), std::size_t(400)));
  const auto space = line.find(' ');
  return space != std::string_view::npos && space > 0 && from_base64(line.substr(0, space), "") &&
         line.size() > space + 1 && line[space + 1] >= '0' && line[space + 1] <= '9';
}

Result<void> load_tiktoken(HfTokenizer& t, std::string_view bytes, const std::string& file_name) {
  TRY_ASSIGN(const auto ranks, parse(bytes, t.where));
  auto model = std::make_unique<BpeModel>();
  Bpe& bpe = model->bpe;
  bpe.vocabulary.reserve(ranks.tokens.size());
  for (const auto& [token, rank] : ranks.tokens) {
    const auto text = to_printable(token);
    TRY(t.list.place(text, rank, t.where));
    if (!bpe.vocabulary.emplace(text, std::int32_t(rank)).second)
      return Error{"bad-file",
                   "A token is listed twice, the second time with rank " + std::to_string(rank),
                   t.where};
  }
  // Any two neighbours that make a token merge, the lowest rank first and the leftmost of equals:
  // every way to cut a token in two gets the rank of the token.
  struct Pair {
    std::int32_t id, left, right;
  };
  std::vector<Pair> pairs;
  for (const auto& [token, rank] : ranks.tokens) {
    const auto text = to_printable(token);
    for (std::size_t cut = 0, pos = 0; next_char(text, pos), pos < text.size();) {
      cut = pos;
      const auto left = bpe.find(std::string_view(text).substr(0, cut));
      const auto right = left < 0 ? -1 : bpe.find(std::string_view(text).substr(cut));
      if (right >= 0)
        pairs.push_back({std::int32_t(rank), left, right});
    }
  }
  std::sort(pairs.begin(), pairs.end(), [](const Pair& a, const Pair& b) {
    return std::tie(a.id, a.left, a.right) < std::tie(b.id, b.left, b.right);
  });
  bpe.merges.reserve(pairs.size());
  for (const auto& pair : pairs) {
    bpe.merges.insert(pair.left, pair.right, {pair.id, pair.id});
    model->merge_list.emplace_back(t.list.tokens[std::size_t(pair.left)],
                                   t.list.tokens[std::size_t(pair.right)]);
  }
  bpe.whole_words_first = true;
  bpe.prepare();
  t.model = std::move(model);
  t.byte_level = true;

  const auto& table = known_encodings();
  const auto by_name = std::find_if(table.begin(), table.end(), [&](const Known& k) {
    return file_name.find(k.name) != std::string::npos;
  });
  const auto by_size = std::find_if(table.begin(), table.end(),
                                    [&](const Known& k) { return k.ranks == ranks.tokens.size(); });
  const auto known = by_size != table.end() ? by_size : by_name;
  const char* pattern = known == table.end() ? pattern_cl100k : known->pattern;
  t.remarks.push_back(
      known == table.end()
          ? "A tiktoken file does not say how to split text; nothing is known about one of " +
                std::to_string(ranks.tokens.size()) +
                " ranks, so it is split like cl100k: ids may differ"
          : "A tiktoken file does not say how to split text; it is split like " +
                std::string(known->name) + ", which this one is by its " +
                (known == by_size ? "size" : "name"));
  t.pre_tokenizer_json = {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "Split"},
         {"pattern", {{"Regex", pattern}}},
         {"behavior", "Isolated"},
         {"invert", false}},
        {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
  TRY_ASSIGN(t.pre_tokenizer, parse_pre_tokenizer(t.pre_tokenizer_json, t.where));
  TRY_ASSIGN(t.decoder, parse_decoder({{"type", "ByteLevel"}}, t.where));
  if (known == table.end())
    return {};
  for (const auto& special : known->specials) {
    AddedToken token;
    token.id = std::int32_t(known->ranks) + special.offset;
    token.content = special.text;
    token.special = true;
    TRY(add_token(t, std::move(token)));
  }
  t.eos_id = t.find(known->eos);
  if (*known->bos) {
    t.bos_id = t.find(known->bos);
    t.prefix.push_back(t.bos_id);
  }
  return {};
}

} // namespace bitlathe::text
