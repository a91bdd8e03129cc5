// SPDX-License-Identifier: Apache-2.0
// Reads tokenizer.json and the small files beside it.
#include "core/text/hf_tokenizer.h"
#include "core/text/unicode.h"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <sstream>

namespace bitlathe::text {

namespace {

/// Vocabularies of today end below 300,000; a larger id in a file is damage, not a model.
constexpr std::int64_t largest_id = 8'000'000;

Error bad(const std::string& message, const std::string& where) {
  return {"bad-file", message, where};
}

Result<void> place_token(HfTokenizer& t, const std::string& token, std::int64_t id) {
  if (id < 0 || id > largest_id)
    return bad("The token \"" + token + "\" has the id " + std::to_string(id) +
                   ", which is out of range",
               t.where);
  if (std::size_t(id) >= t.tokens.size()) {
    t.tokens.resize(std::size_t(id) + 1);
    t.kinds.resize(std::size_t(id) + 1, TokenKind::unused);
  }
  if (t.kinds[std::size_t(id)] != TokenKind::unused)
    return bad("The id " + std::to_string(id) + " belongs to two tokens, \"" +
                   t.tokens[std::size_t(id)] + "\" and \"" + token + "\"",
               t.where);
  t.tokens[std::size_t(id)] = token;
  t.kinds[std::size_t(id)] = TokenKind::normal;
  return {};
}

Result<void> load_vocabulary(HfTokenizer& t, const Json& model) {
  const auto vocab = model.find("vocab");
  if (vocab == model.end() || !vocab->is_object())
    return bad("The model has no \"vocab\" object", t.where);
  if (vocab->empty())
    return bad("The vocabulary is empty", t.where);
  t.bpe.vocabulary.reserve(vocab->size());
  for (const auto& [token, id] : vocab->items()) {
    if (!id.is_number_integer())
      return bad("The token \"" + token + "\" has an id that is no whole number", t.where);
    if (id.is_number_unsigned() && id.get<std::uint64_t>() > std::uint64_t(largest_id))
      return bad("The token \"" + token + "\" has the id " + id.dump() + ", which is out of range",
                 t.where);
    TRY(place_token(t, token, id.get<std::int64_t>()));
    t.bpe.vocabulary.emplace(token, id.get<std::int32_t>());
  }
  return {};
}

Result<void> load_merges(HfTokenizer& t, const Json& model) {
  const auto merges = model.find("merges");
  if (merges == model.end() || !merges->is_array())
    return bad("The model has no \"merges\" list", t.where);
  t.bpe.merges.reserve(merges->size());
  t.merge_list.reserve(merges->size());
  for (std::size_t i = 0; i < merges->size(); ++i) {
    const Json& item = (*merges)[i];
    const auto number = [&] { return "Merge " + std::to_string(i); };
    std::pair<std::string, std::string> pair;
    if (item.is_string()) {
      const auto& text = item.get_ref<const std::string&>();
      if (text.compare(0, 8, "#version") == 0)
        continue;
      const auto space = text.find(' ');
      if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos)
        return bad(number() + " (\"" + text + "\") is not two pieces with a space between",
                   t.where);
      pair = {text.substr(0, space), text.substr(space + 1)};
    } else if (item.is_array() && item.size() == 2 && item[0].is_string() && item[1].is_string()) {
      pair = {item[0].get<std::string>(), item[1].get<std::string>()};
    } else {
      return bad(number() + " is neither a text nor a pair of texts", t.where);
    }
    const auto left = t.bpe.find(pair.first), right = t.bpe.find(pair.second);
    const std::string& prefix = t.bpe.continuing_prefix;
    std::string joined = pair.first;
    joined += pair.second.size() >= prefix.size() ? pair.second.substr(prefix.size()) : "";
    const auto id = t.bpe.find(joined);
    if (left < 0 || right < 0 || id < 0)
      return bad(number() + " uses \"" +
                     (left < 0    ? pair.first
                      : right < 0 ? pair.second
                                  : joined) +
                     "\", which is not in the vocabulary",
                 t.where);
    t.bpe.merges.insert(left, right, {std::int32_t(t.merge_list.size()), id});
    t.merge_list.push_back(std::move(pair));
  }
  return {};
}

Result<void> load_model(HfTokenizer& t, const Json& root) {
  const auto model = root.find("model");
  if (model == root.end() || !model->is_object())
    return bad("There is no \"model\"", t.where);
  // Old files leave the type out; only BPE has merges.
  const auto vocab = model->find("vocab");
  const char* guess = model->contains("merges")                    ? "BPE"
                      : vocab != model->end() && vocab->is_array() ? "Unigram"
                                                                   : "WordLevel";
  TRY_ASSIGN(const auto type, json_string_or(*model, "type", guess, t.where));
  if (type != "BPE")
    return Error{"unsupported",
                 "The tokenizer model \"" + type + "\" is not supported; only BPE is", t.where};
  TRY_ASSIGN(const double dropout, json_number_or(*model, "dropout", 0.0, t.where));
  if (dropout != 0.0)
    return Error{"unsupported", "The model drops merges at random (\"dropout\")", t.where};
  TRY_ASSIGN(t.bpe.continuing_prefix,
             json_string_or(*model, "continuing_subword_prefix", "", t.where));
  TRY_ASSIGN(t.bpe.end_suffix, json_string_or(*model, "end_of_word_suffix", "", t.where));
  TRY_ASSIGN(t.bpe.fuse_unknown, json_bool_or(*model, "fuse_unk", false, t.where));
  TRY_ASSIGN(t.bpe.byte_fallback, json_bool_or(*model, "byte_fallback", false, t.where));
  TRY_ASSIGN(t.bpe.whole_words_first, json_bool_or(*model, "ignore_merges", false, t.where));
  TRY(load_vocabulary(t, *model));
  TRY(load_merges(t, *model));
  TRY_ASSIGN(const auto unknown, json_string_or(*model, "unk_token", "", t.where));
  if (!unknown.empty()) {
    t.bpe.unknown = t.unk_id = t.bpe.find(unknown);
    if (t.unk_id < 0)
      return bad("The unk_token \"" + unknown + "\" is not in the vocabulary", t.where);
    t.kinds[std::size_t(t.unk_id)] = TokenKind::unknown;
  }
  t.bpe.prepare();
  if (t.bpe.byte_fallback)
    for (std::size_t id = 0; id < t.tokens.size(); ++id) {
      const std::string& token = t.tokens[id];
      if (token.size() == 6 && token.compare(0, 3, "<0x") == 0 && token[5] == '>' &&
          std::isxdigit(static_cast<unsigned char>(token[3])) &&
          std::isxdigit(static_cast<unsigned char>(token[4])))
        t.kinds[id] = TokenKind::byte;
    }
  return {};
}

Result<void> load_added(HfTokenizer& t, const Json& root) {
  TRY_ASSIGN(auto list, parse_added_tokens(root.value("added_tokens", Json()), t.where));
  for (auto& token : list) {
    const auto known = t.bpe.find(token.content);
    if (known >= 0 && known != token.id)
      return bad("The added token \"" + token.content + "\" has the id " +
                     std::to_string(token.id) + ", but the vocabulary gives it " +
                     std::to_string(known),
                 t.where);
    if (known < 0)
      TRY(place_token(t, token.content, token.id));
    auto& kind = t.kinds[std::size_t(token.id)];
    if (kind != TokenKind::unknown)
      kind = token.special ? TokenKind::control : TokenKind::user_defined;
    TRY(t.added.add(std::move(token), t.normalizer, t.where));
  }
  return {};
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
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= t.tokens.size())
      return bad("The post-processor's \"" + name + "\" has an id that no token has: " + id.dump(),
                 t.where);
    ids.push_back(id.get<std::int32_t>());
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
  for (const auto* key : {"cls", "sep"}) {
    const auto pair = stage.find(key);
    if (pair == stage.end() || !pair->is_array() || pair->size() != 2 ||
        !pair->at(1).is_number_unsigned() || pair->at(1).get<std::uint64_t>() >= t.tokens.size())
      return bad("The post-processor's \"" + std::string(key) + "\" must be [token, id]", t.where);
    const auto id = pair->at(1).get<std::int32_t>();
    if (key[0] == 'c')
      t.prefix.insert(t.prefix.begin(), id);
    else
      t.suffix.push_back(id);
  }
  return {};
}

Result<bool> load_post_processor(HfTokenizer& t, const Json& root) {
  const Json json = root.value("post_processor", Json());
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
  return !json.is_null();
}

/// tokenizer_config.json and special_tokens_map.json name tokens as a text or as {"content": text}.
Result<std::string> token_name(const Json& config, const char* key, const std::string& where) {
  if (!config.is_object() || !config.contains(key) || config[key].is_null())
    return std::string();
  if (config[key].is_object())
    return json_string(config[key], "content", where);
  return json_string(config, key, where);
}

Result<void> load_chat_template(HfTokenizer& t, const Json& config,
                                const std::filesystem::path& folder, const std::string& where) {
  const auto file = folder / "chat_template.jinja";
  if (std::filesystem::exists(file)) {
    std::ifstream in(file, std::ios::binary);
    std::ostringstream content;
    if (!in || !(content << in.rdbuf()))
      return Error{"io", "Cannot read the file", file.string()};
    t.template_text = content.str();
    return {};
  }
  const auto entry = config.find("chat_template");
  if (entry == config.end() || entry->is_null())
    return {};
  if (entry->is_string()) {
    t.template_text = entry->get<std::string>();
    return {};
  }
  if (!entry->is_array())
    return bad("\"chat_template\" must be a text or a list", where);
  for (const auto& named : *entry) {
    TRY_ASSIGN(const auto name, json_string(named, "name", where));
    TRY_ASSIGN(const auto text, json_string(named, "template", where));
    if (name == "default" || t.template_text.empty())
      t.template_text = text;
  }
  return {};
}

Result<Json> read_optional(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path))
    return Json(Json::object());
  TRY_ASSIGN(auto json, read_json_file(path));
  if (!json.is_object())
    return bad("The file must hold a JSON object", path.string());
  return json;
}

Result<void> load_config(HfTokenizer& t, const std::filesystem::path& folder,
                         bool has_post_processor) {
  const auto where = (folder / "tokenizer_config.json").string();
  const auto map_where = (folder / "special_tokens_map.json").string();
  const auto model_where = (folder / "config.json").string();
  TRY_ASSIGN(const auto config, read_optional(where));
  TRY_ASSIGN(const auto map, read_optional(map_where));
  TRY_ASSIGN(const auto model, read_optional(model_where));

  const auto find = [&](const char* key, std::int32_t& id) -> Result<void> {
    TRY_ASSIGN(auto name, token_name(config, key, where));
    if (name.empty()) {
      TRY_ASSIGN(name, token_name(map, key, map_where));
    }
    if (!name.empty()) {
      const auto* added = t.added.find(name);
      const auto found = added ? added->id : t.bpe.find(name);
      // A pad token that is missing is added by training code, and never met in a text.
      if (found < 0 && std::string_view(key) != "pad_token")
        return bad("The " + std::string(key) + " \"" + name + "\" is not in the vocabulary", where);
      id = found;
      return {};
    }
    const std::string id_key = std::string(key) + "_id";
    const auto fallback = model.find(id_key); // eos may be a list there; the first one ends a text
    if (fallback != model.end()) {
      const Json& value =
          fallback->is_array() && !fallback->empty() ? fallback->front() : *fallback;
      if (value.is_number_unsigned() && value.get<std::uint64_t>() < t.tokens.size())
        id = value.get<std::int32_t>();
    }
    return {};
  };
  TRY(find("bos_token", t.bos_id));
  TRY(find("eos_token", t.eos_id));
  TRY(find("pad_token", t.pad_id));
  if (t.unk_id < 0)
    TRY(find("unk_token", t.unk_id));

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

} // namespace

Result<std::shared_ptr<const Tokenizer>> load_hf_tokenizer(const std::filesystem::path& folder) {
  const auto path = folder / "tokenizer.json";
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    const bool sentencepiece = std::filesystem::exists(folder / "tokenizer.model", ignored);
    return Error{"not-found",
                 sentencepiece ? "There is no tokenizer.json beside tokenizer.model; convert it "
                                 "with transformers (save_pretrained of the fast tokenizer)"
                               : "There is no tokenizer.json",
                 path.string()};
  }
  TRY_ASSIGN(const auto root, read_json_file(path));
  auto tokenizer = std::make_shared<HfTokenizer>();
  HfTokenizer& t = *tokenizer;
  t.where = path.string();
  if (!root.is_object())
    return bad("A tokenizer.json must hold an object", t.where);
  t.normalizer_json = root.value("normalizer", Json());
  t.pre_tokenizer_json = root.value("pre_tokenizer", Json());
  TRY(load_model(t, root));
  TRY_ASSIGN(t.normalizer, parse_normalizer(t.normalizer_json, t.where));
  TRY_ASSIGN(t.pre_tokenizer, parse_pre_tokenizer(t.pre_tokenizer_json, t.where));
  TRY_ASSIGN(t.decoder, parse_decoder(root.value("decoder", Json()), t.where));
  TRY_ASSIGN(const auto stages,
             stage_list(t.pre_tokenizer_json, "pre_tokenizer", "pretokenizers", t.where));
  t.byte_level = std::any_of(stages.begin(), stages.end(), [](const Json& stage) {
    return stage.value("type", std::string()) == "ByteLevel";
  });
  TRY(load_added(t, root));
  TRY_ASSIGN(const bool has_post_processor, load_post_processor(t, root));
  TRY(load_config(t, folder, has_post_processor));
  return std::shared_ptr<const Tokenizer>(std::move(tokenizer));
}

} // namespace bitlathe::text
