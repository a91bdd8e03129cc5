// SPDX-License-Identifier: Apache-2.0
// The "post_processor" of a tokenizer.json: what is put around a text.
#include "core/text/hf_tokenizer.h"

namespace bitlathe::text {

namespace {

Error bad(const std::string& message, const std::string& where) {
  return {"bad-file", message, where};
}

Result<std::int32_t> known_id(const HfTokenizer& t, const Json& id, const std::string& name) {
  if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= t.list.size())
    return bad("The post-processor's \"" + name + "\" has an id that no token has: " + id.dump(),
               t.where);
  return id.get<std::int32_t>();
}

Result<std::vector<std::int32_t>> template_ids(const HfTokenizer& t, const Json& stage,
                                               const std::string& name) {
  const auto specials = stage.find("special_tokens");
  const Json* entry = nullptr;
  if (specials != stage.end() && specials->is_object() && specials->contains(name))
    entry = &specials->at(name);
  if (!entry || !entry->is_object() || !entry->contains("ids") || !entry->at("ids").is_array())
    return bad("The post-processor's template uses \"" + name + "\" without giving its ids",
               t.where);
  std::vector<std::int32_t> ids;
  for (const auto& id : entry->at("ids")) {
    TRY_ASSIGN(const auto known, known_id(t, id, name));
    ids.push_back(known);
  }
  return ids;
}

Result<void> load_template(HfTokenizer& t, const Json& stage) {
  const auto single = stage.find("single");
  if (single == stage.end() || !single->is_array())
    return bad("The post-processor has no list \"single\"", t.where);
  std::vector<std::int32_t> before, after;
  int sequences = 0;
  for (const auto& item : *single) {
    if (item.is_object() && item.contains("Sequence")) {
      ++sequences;
    } else if (item.is_object() && item.contains("SpecialToken")) {
      TRY_ASSIGN(const auto name, json_string(item["SpecialToken"], "id", t.where));
      TRY_ASSIGN(const auto ids, template_ids(t, stage, name));
      auto& side = sequences ? after : before;
      side.insert(side.end(), ids.begin(), ids.end());
    } else {
      return bad("The post-processor's template has a part that is neither token nor sequence",
                 t.where);
    }
  }
  if (sequences != 1)
    return bad("The post-processor's template must hold the text exactly once", t.where);
  t.prefix.insert(t.prefix.begin(), before.begin(), before.end());
  t.suffix.insert(t.suffix.end(), after.begin(), after.end());
  return {};
}

/// RobertaProcessing and BertProcessing: [token, id] pairs around the text.
Result<void> load_pair(HfTokenizer& t, const Json& stage) {
  for (const std::string key : {"cls", "sep"}) {
    const auto pair = stage.find(key);
    if (pair == stage.end() || !pair->is_array() || pair->size() != 2)
      return bad("The post-processor's \"" + key + "\" must be [token, id]", t.where);
    TRY_ASSIGN(const auto id, known_id(t, pair->at(1), key));
    if (key == "cls")
      t.prefix.insert(t.prefix.begin(), id);
    else
      t.suffix.push_back(id);
  }
  return {};
}

} // namespace

Result<void> load_post_processor(HfTokenizer& t, const Json& json) {
  TRY_ASSIGN(const auto stages, stage_list(json, "post_processor", "processors", t.where));
  for (const auto& stage : stages) {
    TRY_ASSIGN(const auto type, stage_type(stage, "post_processor", t.where));
    if (type == "TemplateProcessing") {
      TRY(load_template(t, stage));
    } else if (type == "RobertaProcessing" || type == "BertProcessing") {
      TRY(load_pair(t, stage));
    } else if (type != "ByteLevel") { // that one only moves offsets
      return unknown_stage("post_processor", type, t.where);
    }
  }
  return {};
}

} // namespace bitlathe::text
