// SPDX-License-Identifier: Apache-2.0
// Where models keep their chat template, the texts of their special tokens and the tokens that end
// a turn.
#include "core/chat/chat.h"
#include "core/io/files.h"
#include "core/text/tokenizer.h"

#include <algorithm>
#include <array>

namespace bitlathe {
namespace {

std::optional<fs::path> side_file(const Checkpoint& checkpoint, std::string_view name) {
  for (const fs::path& file : checkpoint.side_files)
    if (file.filename() == name)
      return file;
  return std::nullopt;
}

Json read_config(const Checkpoint& checkpoint, std::string_view name) {
  const auto path = side_file(checkpoint, name);
  if (!path)
    return Json::object();
  auto json = read_json_file(*path);
  return json && json->is_object() ? std::move(*json) : Json(Json::object());
}

using Templates = std::vector<std::pair<std::string, ChatTemplate>>; // by name

/// A text is the template "default"; a list names its templates.
Result<Templates> from_json(const Json& entry, const std::string& where) {
  Templates out;
  if (entry.is_string()) {
    out.push_back({"default", {entry.get<std::string>(), where}});
  } else if (entry.is_object()) { // names to texts
    for (const auto& [name, text] : entry.items())
      if (text.is_string())
        out.push_back({name, {text.get<std::string>(), where + ", template " + name}});
  } else if (entry.is_array()) {
    for (const Json& one : entry) {
      if (!one.is_object())
        return Error{"bad-file", "A named chat template must be an object", where};
      TRY_ASSIGN(const std::string name, json_string(one, "name", where));
      TRY_ASSIGN(const std::string text, json_string(one, "template", where));
      out.push_back({name, {text, where + ", template " + name}});
    }
  } else if (!entry.is_null()) {
    return Error{"bad-file", "\"chat_template\" must be a text or a list", where};
  }
  return out;
}

Result<Templates> from_folder(const Checkpoint& checkpoint) {
  Templates out;
  if (const auto file = side_file(checkpoint, "chat_template.jinja")) {
    TRY_ASSIGN(std::string text, read_file(*file));
    out.push_back({"default", {std::move(text), file->string()}});
    std::error_code failed;
    const fs::path more = file->parent_path() / "additional_chat_templates";
    for (fs::directory_iterator it(more, failed), end; !failed && it != end; it.increment(failed))
      if (it->path().extension() == ".jinja") {
        TRY_ASSIGN(std::string other, read_file(it->path()));
        out.push_back({it->path().stem().string(), {std::move(other), it->path().string()}});
      }
    return out;
  }
  for (const char* name : {"tokenizer_config.json", "chat_template.json"})
    if (const auto file = side_file(checkpoint, name)) {
      TRY_ASSIGN(const Json json, read_json_file(*file));
      const auto entry = json.is_object() ? json.find("chat_template") : json.end();
      if (!json.is_object() || entry == json.end() || entry->is_null())
        continue;
      return from_json(*entry, file->string());
    }
  return out;
}

Templates from_gguf(const Checkpoint& checkpoint) {
  Templates out;
  constexpr std::string_view key = "tokenizer.chat_template";
  for (const auto& [name, value] : checkpoint.gguf) {
    const auto text = name.compare(0, key.size(), key) == 0 ? value.as_string() : std::nullopt;
    if (text && name.size() == key.size())
      out.push_back({"default", {*text, checkpoint.path.string() + ", " + name}});
    else if (text && name[key.size()] == '.')
      out.push_back({name.substr(key.size() + 1), {*text, checkpoint.path.string() + ", " + name}});
  }
  return out;
}

} // namespace

Result<ChatTemplate> find_chat_template(const Checkpoint& checkpoint, bool tools) {
  TRY_ASSIGN(Templates all, from_folder(checkpoint));
  if (all.empty())
    all = from_gguf(checkpoint);
  for (const std::string_view wanted : {tools ? "tool_use" : "default", "default"})
    for (auto& [name, found] : all)
      if (name == wanted && !found.text.empty())
        return std::move(found);
  for (auto& [name, found] : all)
    if (all.size() == 1 && !found.text.empty())
      return std::move(found);
  if (checkpoint.tokenizer && !checkpoint.tokenizer->chat_template().empty())
    return ChatTemplate{checkpoint.tokenizer->chat_template(), checkpoint.path.string()};
  if (all.empty())
    return Error{"not-available",
                 "The model has no chat template. The plain prompt works: it is continued as it is",
                 checkpoint.path.string()};
  std::string names;
  for (const auto& [name, found] : all)
    names += (names.empty() ? "" : ", ") + name;
  return Error{"not-available",
               "The model has several chat templates (" + names +
                   ") but none for plain conversations. The plain prompt works",
               checkpoint.path.string()};
}

bool has_chat_template(const Checkpoint& checkpoint) { return find_chat_template(checkpoint).ok(); }

bool seems_to_have_chat_template(const Checkpoint& checkpoint) {
  return (checkpoint.tokenizer && !checkpoint.tokenizer->chat_template().empty()) ||
         side_file(checkpoint, "chat_template.jinja") ||
         side_file(checkpoint, "chat_template.json") ||
         find(checkpoint.gguf, "tokenizer.chat_template");
}

std::map<std::string, std::string> chat_special_tokens(const Checkpoint& checkpoint) {
  std::map<std::string, std::string> out;
  const Json config = read_config(checkpoint, "tokenizer_config.json");
  const Json map = read_config(checkpoint, "special_tokens_map.json");
  const Tokenizer* tokenizer = checkpoint.tokenizer.get();
  const auto add = [&](const char* key, std::int32_t id) {
    for (const Json* json : {&config, &map}) {
      const auto it = json->find(key);
      if (it == json->end())
        continue;
      const Json content = it->is_object() ? it->value("content", Json()) : *it;
      if (content.is_string())
        out[key] = content.get<std::string>();
      return; // null: the model has none, whatever ids its config names
    }
    if (tokenizer && id >= 0 && id < tokenizer->vocab_size())
      out[key] = tokenizer->token(id);
  };
  add("bos_token", tokenizer ? tokenizer->bos() : -1);
  add("eos_token", tokenizer ? tokenizer->eos() : -1);
  add("unk_token", tokenizer ? tokenizer->unk() : -1);
  add("pad_token", tokenizer ? tokenizer->pad() : -1);
  for (const char* key : {"cls_token", "sep_token", "mask_token"})
    add(key, -1);
  return out;
}

std::vector<std::int32_t> end_of_turn_tokens(const Checkpoint& checkpoint) {
  std::vector<std::int32_t> out;
  const Tokenizer* tokenizer = checkpoint.tokenizer.get();
  if (!tokenizer)
    return out;
  const auto add = [&](std::int64_t id) {
    if (id >= 0 && id < tokenizer->vocab_size() &&
        std::find(out.begin(), out.end(), std::int32_t(id)) == out.end())
      out.push_back(std::int32_t(id));
  };
  add(tokenizer->eos());
  for (const Json& json : {read_config(checkpoint, "generation_config.json"), checkpoint.config}) {
    const Json ids = json.is_object() ? json.value("eos_token_id", Json()) : Json();
    for (const Json& id : ids.is_array() ? ids : Json::array({ids}))
      if (id.is_number_integer())
        add(id.get<std::int64_t>());
  }
  for (const char* key : {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"})
    if (const GgufValue* value = find(checkpoint.gguf, key))
      add(value->as_int().value_or(-1));

  EncodeOptions special;
  special.add_special = false;
  special.parse_special = true;
  const auto known = [&](const std::string& name) -> std::int32_t {
    const auto ids = tokenizer->encode(name, special);
    if (ids.size() != 1 || tokenizer->token(ids[0]) != name)
      return -1;
    const TokenKind kind = tokenizer->token_kind(ids[0]);
    return kind == TokenKind::control || kind == TokenKind::user_defined ? ids[0] : -1;
  };
  // Where <|return|> ends the turn, <|end|> only ends one of its parts.
  const bool parts = known("<|return|>") >= 0;
  static constexpr std::array names{"<|eot_id|>",
                                    "<|im_end|>",
                                    "<end_of_turn>",
                                    "<|end|>",
                                    "<|return|>",
                                    "<|call|>",
                                    "<|eom_id|>",
                                    "<|END_OF_TURN_TOKEN|>",
                                    "<|end_of_turn|>",
                                    "<|endoftext|>",
                                    "<|end_of_text|>",
                                    "<|eot|>",
                                    "</s>",
                                    "<\xef\xbd\x9c"
                                    "end\xe2\x96\x81of\xe2\x96\x81sentence"
                                    "\xef\xbd\x9c>"};
  for (const std::string name : names)
    if (!(parts && name == "<|end|>"))
      add(known(name));
  return out;
}

} // namespace bitlathe
