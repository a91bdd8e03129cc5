// SPDX-License-Identifier: Apache-2.0
// Reads a tokenizer.json.
#include "core/text/hf_tokenizer.h"

#include <algorithm>

namespace bitlathe::text {

namespace {

Error bad(const std::string& message, const std::string& where) {
  return {"bad-file", message, where};
}

Result<void> load_model(HfTokenizer& t, const Json& root) {
  const auto model = root.find("model");
  if (model == root.end() || !model->is_object())
    return bad("There is no \"model\"", t.where);
  TRY_ASSIGN(const auto type, json_string_or(*model, "type", "", t.where));
  const auto kinds = all_token_models();
  // Old files leave the type out.
  const auto kind = std::find_if(kinds.begin(), kinds.end(), [&](const TokenModelKind* k) {
    return type.empty() ? k->looks_like(*model) : k->type == type;
  });
  if (kind == kinds.end()) {
    std::string known;
    for (const auto* k : kinds)
      known += (known.empty() ? "" : ", ") + std::string(k->type);
    return Error{"unsupported",
                 "The tokenizer model \"" + type + "\" is not supported; known are " + known,
                 t.where};
  }
  TRY_ASSIGN(auto loaded, (*kind)->load(*model, t.list, t.where));
  t.model = std::move(loaded.model);
  t.remarks.insert(t.remarks.end(), loaded.notes.begin(), loaded.notes.end());
  t.unk_id = t.model->unknown();
  return {};
}

void remark_if_set(HfTokenizer& t, const Json& root, const char* key, const std::string& remark) {
  const auto it = root.find(key);
  if (it != root.end() && !it->is_null())
    t.remarks.push_back(remark);
}

} // namespace

Result<void> add_token(HfTokenizer& t, AddedToken token) {
  if (const auto* twice = t.added.find(token.content); twice)
    return {}; // the first one counts
  const auto given = token.id;
  if (const auto known = t.model->find(token.content); known >= 0) {
    token.id = known;
  } else {
    // An id that another token has cannot be meant.
    if (t.list.has(token.id) || token.id < 0)
      token.id = std::int32_t(t.list.size());
    TRY(t.list.place(token.content, token.id, t.where));
  }
  if (given >= 0 && token.id != given)
    t.remarks.push_back("The added token \"" + token.content + "\" has the id " +
                        std::to_string(token.id) + ", not " + std::to_string(given) +
                        " as its entry says");
  auto& kind = t.list.kinds[std::size_t(token.id)];
  if (kind != TokenKind::unknown)
    kind = token.special ? TokenKind::control : TokenKind::user_defined;
  return t.added.add(std::move(token), t.normalizer, t.where);
}

Result<void> load_tokenizer_json(HfTokenizer& t, const Json& root) {
  if (!root.is_object())
    return bad("A tokenizer.json must hold an object", t.where);
  t.normalizer_json = root.value("normalizer", Json());
  t.pre_tokenizer_json = root.value("pre_tokenizer", Json());
  TRY(load_model(t, root));
  TRY_ASSIGN(t.normalizer, parse_normalizer(t.normalizer_json, t.where));
  TRY_ASSIGN(t.pre_tokenizer, parse_pre_tokenizer(t.pre_tokenizer_json, t.where));
  TRY_ASSIGN(t.decoder, parse_decoder(root.value("decoder", Json()), t.where));
  TRY_ASSIGN(const auto before,
             stage_list(t.pre_tokenizer_json, "pre_tokenizer", "pretokenizers", t.where));
  TRY_ASSIGN(const auto normalizers,
             stage_list(t.normalizer_json, "normalizer", "normalizers", t.where));
  const auto is_byte_level = [](const Json& stage) { return stage["type"] == "ByteLevel"; };
  t.byte_level = std::any_of(before.begin(), before.end(), is_byte_level) ||
                 std::any_of(normalizers.begin(), normalizers.end(), is_byte_level);
  TRY_ASSIGN(auto tokens, parse_added_tokens(root.value("added_tokens", Json()), t.where));
  for (auto& token : tokens)
    TRY(add_token(t, std::move(token)));
  TRY(load_post_processor(t, root.value("post_processor", Json())));
  remark_if_set(t, root, "truncation",
                "The tokenizer asks to cut texts short (\"truncation\"); they are kept whole");
  remark_if_set(t, root, "padding",
                "The tokenizer asks to fill texts up (\"padding\"); they are left as they are");
  return {};
}

} // namespace bitlathe::text
