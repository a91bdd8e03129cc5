// SPDX-License-Identifier: Apache-2.0
// The small files beside a tokenizer: which tokens begin and end a text, and the chat template.
#include "core/text/hf_tokenizer.h"

#include <algorithm>
#include <climits>
#include <fstream>
#include <sstream>

namespace bitlathe::text {

namespace {

Error bad(const std::string& message, const std::string& where) {
  return {"bad-file", message, where};
}

/// tokenizer_config.json and special_tokens_map.json name tokens as a text or as {"content": text}.
Result<std::string> token_name(const Json& config, const char* key, const std::string& where) {
  if (!config.contains(key) || config[key].is_null())
    return std::string();
  if (config[key].is_object())
    return json_string(config[key], "content", where);
  return json_string(config, key, where);
}

Result<Json> read_optional(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored))
    return Json(Json::object());
  TRY_ASSIGN(auto json, read_json_file(path));
  if (!json.is_object())
    return bad("The file must hold a JSON object", path.string());
  return json;
}

/// A template is a text, or a list of named ones of which "default" is meant.
Result<std::string> chat_template_of(const Json& config, const std::string& where) {
  const auto entry = config.find("chat_template");
  if (entry == config.end() || entry->is_null())
    return std::string();
  if (entry->is_string())
    return entry->get<std::string>();
  std::string chosen;
  if (entry->is_object()) { // names to texts
    for (const auto& [name, text] : entry->items())
      if (text.is_string() && (name == "default" || chosen.empty()))
        chosen = text.get<std::string>();
    return chosen;
  }
  if (!entry->is_array())
    return bad("\"chat_template\" must be a text or a list", where);
  for (const auto& named : *entry) {
    if (!named.is_object())
      return bad("\"chat_template\" must list objects with a name and a template", where);
    TRY_ASSIGN(const auto name, json_string(named, "name", where));
    TRY_ASSIGN(const auto text, json_string(named, "template", where));
    if (name == "default" || chosen.empty())
      chosen = text;
  }
  return chosen;
}

Result<void> load_chat_template(HfTokenizer& t, const Json& config,
                                const std::filesystem::path& folder, const std::string& where) {
  std::error_code ignored;
  const auto file = folder / "chat_template.jinja";
  if (std::filesystem::exists(file, ignored)) {
    std::ifstream in(file, std::ios::binary);
    std::ostringstream content;
    if (!in || !(content << in.rdbuf()))
      return Error{"io", "Cannot read the file", file.string()};
    t.template_text = content.str();
    return {};
  }
  const auto json_file = folder / "chat_template.json";
  if (std::filesystem::exists(json_file, ignored)) {
    TRY_ASSIGN(const auto json, read_optional(json_file));
    TRY_ASSIGN(t.template_text, chat_template_of(json, json_file.string()));
  }
  if (t.template_text.empty()) {
    TRY_ASSIGN(t.template_text, chat_template_of(config, where));
  }
  return {};
}

/// Tokens that the configuration knows and the tokenizer's own file does not.
Result<void> add_missing_tokens(HfTokenizer& t, const Json& config,
                                const std::filesystem::path& folder, const std::string& where) {
  if (const auto decoder = config.find("added_tokens_decoder");
      decoder != config.end() && decoder->is_object()) {
    Json tokens = Json::array();
    for (const auto& [id, token] : decoder->items()) {
      const auto number = parse_json(id, where);
      if (!number || !number->is_number_unsigned() || !token.is_object())
        return bad("An entry of \"added_tokens_decoder\" is damaged: \"" + id + "\"", where);
      Json entry = token;
      entry["id"] = *number;
      tokens.push_back(std::move(entry));
    }
    TRY_ASSIGN(auto list, parse_added_tokens(tokens, where));
    std::sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
    for (auto& token : list)
      TRY(add_token(t, std::move(token)));
  }
  const auto file = folder / "added_tokens.json";
  TRY_ASSIGN(const auto added, read_optional(file));
  std::vector<AddedToken> list;
  for (const auto& [content, id] : added.items()) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() > INT32_MAX)
      return bad("The added token \"" + content + "\" has no proper id", file.string());
    if (content.empty() || t.added.find(content))
      continue;
    AddedToken token;
    token.id = id.get<std::int32_t>();
    token.content = content;
    list.push_back(std::move(token));
  }
  std::sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  for (auto& token : list)
    TRY(add_token(t, std::move(token)));
  return {};
}

} // namespace

Result<void> load_tokenizer_config(HfTokenizer& t, const std::filesystem::path& folder,
                                   bool has_post_processor) {
  const auto where = (folder / "tokenizer_config.json").string();
  const auto map_where = (folder / "special_tokens_map.json").string();
  TRY_ASSIGN(const auto config, read_optional(folder / "tokenizer_config.json"));
  TRY_ASSIGN(const auto map, read_optional(folder / "special_tokens_map.json"));
  TRY_ASSIGN(const auto model, read_optional(folder / "config.json"));
  TRY(add_missing_tokens(t, config, folder, where));

  const auto find = [&](const char* key, std::int32_t& id, bool needed) -> Result<void> {
    TRY_ASSIGN(auto name, token_name(config, key, where));
    if (name.empty()) {
      TRY_ASSIGN(name, token_name(map, key, map_where));
    }
    if (!name.empty()) {
      const auto found = t.find(name);
      if (found >= 0)
        id = found;
      else if (needed)
        t.remarks.push_back("The " + std::string(key) + " \"" + name +
                            "\" that tokenizer_config.json names is not in the vocabulary");
      return {};
    }
    const std::string id_key = std::string(key) + "_id";
    const auto fallback = model.find(id_key); // eos may be a list there; the first one ends a text
    if (fallback != model.end()) {
      const Json& value =
          fallback->is_array() && !fallback->empty() ? fallback->front() : *fallback;
      if (value.is_number_unsigned() && value.get<std::uint64_t>() < t.list.size())
        id = value.get<std::int32_t>();
    }
    return {};
  };
  TRY(find("bos_token", t.bos_id, true));
  TRY(find("eos_token", t.eos_id, true));
  // Tokens that are missing here are added by training code, and never met in a text.
  TRY(find("pad_token", t.pad_id, false));
  TRY(find("sep_token", t.sep_id, false));
  TRY(find("cls_token", t.cls_id, false));
  TRY(find("mask_token", t.mask_id, false));
  if (t.unk_id < 0)
    TRY(find("unk_token", t.unk_id, false));

  if (!has_post_processor) {
    TRY_ASSIGN(const auto tokenizer_class, json_string_or(config, "tokenizer_class", "", where));
    const bool llama_default = tokenizer_class.compare(0, 14, "LlamaTokenizer") == 0 ||
                               tokenizer_class.compare(0, 14, "GemmaTokenizer") == 0;
    TRY_ASSIGN(const bool add_bos, json_bool_or(config, "add_bos_token", llama_default, where));
    TRY_ASSIGN(const bool add_eos, json_bool_or(config, "add_eos_token", false, where));
    if ((add_bos && t.bos_id < 0) || (add_eos && t.eos_id < 0))
      return bad("add_bos_token or add_eos_token is set, but that token is not named", where);
    if (add_bos)
      t.prefix.push_back(t.bos_id);
    if (add_eos)
      t.suffix.push_back(t.eos_id);
  }
  // What the tokenizer puts in front of every text is its BOS, whatever the configuration names.
  if (t.prefix.size() == 1)
    t.bos_id = t.prefix[0];
  return load_chat_template(t, config, folder, where);
}

} // namespace bitlathe::text
