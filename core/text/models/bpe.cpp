// SPDX-License-Identifier: Apache-2.0
#include "core/text/bpe_model.h"

namespace bitlathe {

extern const TokenModelKind token_model_bpe;

namespace {

using namespace text;

Error bad(const std::string& message, const std::string& where) {
  return {"bad-file", message, where};
}

/// A text with a space between the pieces. Pieces may hold spaces themselves: then the one way to
/// cut it that the vocabulary knows is meant.
Result<std::pair<std::string, std::string>> parse_merge(const Json& item, std::size_t index,
                                                        const Bpe& bpe, const std::string& where) {
  const auto number = "Merge " + std::to_string(index);
  if (item.is_array() && item.size() == 2 && item[0].is_string() && item[1].is_string())
    return std::pair{item[0].get<std::string>(), item[1].get<std::string>()};
  if (!item.is_string())
    return bad(number + " is neither a text nor a pair of texts", where);
  const auto& pair = item.get_ref<const std::string&>();
  const auto first = pair.find(' ');
  std::size_t space = first, ways = 1;
  if (first != std::string::npos && pair.find(' ', first + 1) != std::string::npos) {
    ways = 0;
    for (auto at = first; at != std::string::npos && pair.size() < 1000;
         at = pair.find(' ', at + 1))
      if (bpe.find(pair.substr(0, at)) >= 0 && bpe.find(pair.substr(at + 1)) >= 0 &&
          bpe.find(pair.substr(0, at) + pair.substr(at + 1)) >= 0) {
        space = at;
        ++ways;
      }
  }
  if (space == std::string::npos || ways != 1)
    return bad(number + " (\"" + pair + "\") is not two pieces with a space between", where);
  return std::pair{pair.substr(0, space), pair.substr(space + 1)};
}

Result<void> load_merges(BpeModel& m, const Json& model, const std::string& where) {
  const auto merges = model.find("merges");
  if (merges == model.end() || !merges->is_array())
    return bad("The model has no \"merges\" list", where);
  m.bpe.merges.reserve(merges->size());
  m.merge_list.reserve(merges->size());
  for (std::size_t i = 0; i < merges->size(); ++i) {
    const Json& item = (*merges)[i];
    if (item.is_string() && item.get_ref<const std::string&>().compare(0, 8, "#version") == 0)
      continue;
    TRY_ASSIGN(auto pair, parse_merge(item, i, m.bpe, where));
    const auto left = m.bpe.find(pair.first), right = m.bpe.find(pair.second);
    const std::string& prefix = m.bpe.continuing_prefix;
    std::string joined = pair.first;
    joined += pair.second.size() >= prefix.size() ? pair.second.substr(prefix.size()) : "";
    const auto id = m.bpe.find(joined);
    if (left < 0 || right < 0 || id < 0)
      return bad("Merge " + std::to_string(i) + " uses \"" +
                     (left < 0    ? pair.first
                      : right < 0 ? pair.second
                                  : joined) +
                     "\", which is not in the vocabulary",
                 where);
    m.bpe.merges.insert(left, right, {std::int32_t(m.merge_list.size()), id});
    m.merge_list.push_back(std::move(pair));
  }
  return {};
}

Result<LoadedModel> load(const Json& json, TokenList& list, const std::string& where) {
  LoadedModel out;
  auto model = std::make_unique<BpeModel>();
  Bpe& bpe = model->bpe;
  TRY_ASSIGN(const double dropout, json_number_or(json, "dropout", 0.0, where));
  if (dropout != 0.0)
    out.notes.push_back("The tokenizer's merge dropout, which is for training, is left out: text "
                        "always gives the same ids");
  TRY_ASSIGN(bpe.continuing_prefix, json_string_or(json, "continuing_subword_prefix", "", where));
  TRY_ASSIGN(bpe.end_suffix, json_string_or(json, "end_of_word_suffix", "", where));
  TRY_ASSIGN(bpe.fuse_unknown, json_bool_or(json, "fuse_unk", false, where));
  TRY_ASSIGN(bpe.byte_fallback, json_bool_or(json, "byte_fallback", false, where));
  TRY_ASSIGN(bpe.whole_words_first, json_bool_or(json, "ignore_merges", false, where));
  TRY(list.load(json, bpe.vocabulary, where));
  TRY(load_merges(*model, json, where));
  TRY_ASSIGN(const auto unknown, json_string_or(json, "unk_token", "", where));
  if (!unknown.empty()) {
    bpe.unknown = bpe.find(unknown);
    if (bpe.unknown < 0)
      return bad("The unk_token \"" + unknown + "\" is not in the vocabulary", where);
    list.kinds[std::size_t(bpe.unknown)] = TokenKind::unknown;
  }
  bpe.prepare();
  if (bpe.byte_fallback)
    list.mark_bytes();
  out.model = std::move(model);
  return out;
}

} // namespace

const TokenModelKind token_model_bpe{"BPE", [](const Json& m) { return m.contains("merges"); },
                                     load};

} // namespace bitlathe
