// SPDX-License-Identifier: Apache-2.0
// Finds the tokenizer of a folder, whatever files it comes in.
#include "core/io/files.h"
#include "core/text/hf_tokenizer.h"
#include "core/text/sentencepiece.h"
#include "core/text/tiktoken.h"
#include "core/text/vocab_files.h"

#include <algorithm>

namespace bitlathe::text {

namespace fs = std::filesystem;

namespace {

using Loaded = Result<std::shared_ptr<const Tokenizer>>;

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

Loaded load_json(const fs::path& path) {
  TRY_ASSIGN(const auto root, read_json_file(path));
  auto t = std::make_shared<HfTokenizer>();
  t->where = path.string();
  TRY(load_tokenizer_json(*t, root));
  const auto post = root.find("post_processor");
  TRY(load_tokenizer_config(*t, path.parent_path(), post != root.end() && !post->is_null()));
  return std::shared_ptr<const Tokenizer>(std::move(t));
}

Loaded load_parts(const fs::path& main_file, Result<AsTokenizerJson> parts) {
  if (!parts)
    return parts.error();
  auto t = std::make_shared<HfTokenizer>();
  t->where = main_file.string();
  TRY(load_tokenizer_json(*t, parts->root));
  t->remarks.insert(t->remarks.end(), parts->notes.begin(), parts->notes.end());
  TRY(load_tokenizer_config(*t, main_file.parent_path(), parts->has_post_processor));
  return std::shared_ptr<const Tokenizer>(std::move(t));
}

/// SentencePiece models and tiktoken files share names; what is in them tells.
Loaded load_model_file(const fs::path& path) {
  TRY_ASSIGN(const auto file, MappedFile::open(path));
  const auto bytes = file->bytes();
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  auto t = std::make_shared<HfTokenizer>();
  t->where = path.string();
  const auto folder = path.parent_path();
  if (looks_like_tiktoken(text)) {
    TRY(load_tiktoken(*t, text, path.filename().string()));
    TRY(load_tokenizer_config(*t, folder, true));
    return std::shared_ptr<const Tokenizer>(std::move(t));
  }
  if (!looks_like_sentencepiece(text))
    return Error{"bad-file", "The file is neither a SentencePiece model nor a tiktoken vocabulary",
                 t->where};
  const auto config_file = folder / "tokenizer_config.json";
  std::string tokenizer_class;
  if (is_there(config_file)) {
    TRY_ASSIGN(const auto config, read_json_file(config_file));
    if (!config.is_object())
      return Error{"bad-file", "The file must hold a JSON object", config_file.string()};
    TRY_ASSIGN(const bool legacy, json_bool_or(config, "legacy", true, config_file.string()));
    t->prefix_first_only = !legacy;
    TRY_ASSIGN(tokenizer_class,
               json_string_or(config, "tokenizer_class", "", config_file.string()));
  } else if (is_there(folder / "config.json")) {
    TRY_ASSIGN(const auto config, read_json_file(folder / "config.json"));
    const auto type = config.is_object() ? config.value("model_type", Json()) : Json();
    tokenizer_class = type == "t5" || type == "mt5" ? "T5Tokenizer" : "LlamaTokenizer";
  }
  TRY(load_sentencepiece(*t, text));
  if (tokenizer_class.rfind("T5Tokenizer", 0) == 0 && t->eos_id >= 0) {
    t->suffix.push_back(t->eos_id);
    TRY(load_tokenizer_config(*t, folder, true));
    return std::shared_ptr<const Tokenizer>(std::move(t));
  }
  const bool llama = tokenizer_class.rfind("LlamaTokenizer", 0) == 0 && !is_there(config_file);
  if (llama && t->bos_id >= 0)
    t->prefix.push_back(t->bos_id);
  if (tokenizer_class.empty())
    t->remarks.push_back("Nothing beside the SentencePiece model says which tokens begin and end a "
                         "text; none are added");
  TRY(load_tokenizer_config(*t, folder, llama));
  return std::shared_ptr<const Tokenizer>(std::move(t));
}

/// The one file in the folder that ends like this or has it in the middle (".model.v3").
fs::path only_file(const fs::path& folder, const std::string& part) {
  fs::path found;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const auto name = it->path().filename().string();
    const auto at = name.find(part);
    if (at == std::string::npos || at == 0 || name.rfind("sentencepiece.bpe", 0) == 0)
      continue; // the latter's ids are moved by the models that have it
    const auto behind = name.substr(at + part.size());
    if (!behind.empty() && behind.compare(0, 2, ".v") != 0)
      continue;
    if (!found.empty())
      return {};
    found = it->path();
  }
  return found;
}

} // namespace

Loaded load_hf_tokenizer(const fs::path& given) {
  std::error_code ignored;
  if (!fs::is_directory(given, ignored) && is_there(given)) {
    const auto name = given.filename().string();
    if (name == "vocab.json" || name == "merges.txt")
      return load_parts(given.parent_path() / "vocab.json",
                        from_vocab_and_merges(given.parent_path()));
    if (name == "vocab.txt")
      return load_parts(given, from_vocab_txt(given.parent_path()));
    return given.extension() == ".json" ? load_json(given) : load_model_file(given);
  }
  const auto& folder = given;
  if (is_there(folder / "tokenizer.json"))
    return load_json(folder / "tokenizer.json");
  for (const char* name : {"tokenizer.model", "spiece.model"})
    if (is_there(folder / name))
      return load_model_file(folder / name);
  if (is_there(folder / "vocab.json") && is_there(folder / "merges.txt"))
    return load_parts(folder / "vocab.json", from_vocab_and_merges(folder));
  if (is_there(folder / "vocab.txt"))
    return load_parts(folder / "vocab.txt", from_vocab_txt(folder));
  for (const char* part : {".tiktoken", ".model"})
    if (const auto file = only_file(folder, part); !file.empty())
      return load_model_file(file);
  return Error{"not-found",
               "There is no tokenizer: no tokenizer.json, tokenizer.model, vocab.json with "
               "merges.txt, vocab.txt or tiktoken file",
               (folder / "tokenizer.json").string()};
}

} // namespace bitlathe::text
