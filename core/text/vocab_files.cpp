// SPDX-License-Identifier: Apache-2.0
#include "core/text/vocab_files.h"

#include "core/io/files.h"
#include "core/text/patterns.h"

namespace bitlathe::text {

namespace fs = std::filesystem;

namespace {

Result<Json> read_optional(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored))
    return Json(Json::object());
  TRY_ASSIGN(auto json, read_json_file(path));
  if (!json.is_object())
    return Error{"bad-file", "The file must hold a JSON object", path.string()};
  return json;
}

/// The class that transformers would use; by the model's type when nothing names it.
Result<std::string> tokenizer_class(const fs::path& folder, const Json& config) {
  TRY_ASSIGN(auto name, json_string_or(config, "tokenizer_class", "",
                                       (folder / "tokenizer_config.json").string()));
  if (name.empty()) {
    TRY_ASSIGN(const auto model, read_optional(folder / "config.json"));
    TRY_ASSIGN(const auto type,
               json_string_or(model, "model_type", "", (folder / "config.json").string()));
    if (type.rfind("qwen", 0) == 0)
      name = "Qwen2Tokenizer";
    else if (type == "roberta" || type == "bart" || type == "longformer")
      name = "RobertaTokenizer";
    else if (!type.empty())
      name = type == "gpt2" || type == "opt" || type == "gpt_neo" || type == "gptj" ||
                     type == "codegen" || type == "phi" || type == "gpt_bigcode"
                 ? "GPT2Tokenizer"
                 : "a tokenizer of \"" + type + "\"";
  }
  if (name.size() > 4 && name.compare(name.size() - 4, 4, "Fast") == 0)
    name.resize(name.size() - 4);
  return name;
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.empty() && line.back() == '\r')
      line.remove_suffix(1);
    lines.emplace_back(line);
  }
  return lines;
}

Json byte_level(bool prefix_space, bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", prefix_space},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

} // namespace

Result<AsTokenizerJson> from_vocab_and_merges(const fs::path& folder) {
  AsTokenizerJson out;
  TRY_ASSIGN(auto vocab, read_json_file(folder / "vocab.json"));
  TRY_ASSIGN(const auto file, MappedFile::open(folder / "merges.txt"));
  const auto bytes = file->bytes();
  Json merges = Json::array();
  for (auto& line : lines_of({reinterpret_cast<const char*>(bytes.data()), bytes.size()}))
    if (!line.empty() && line.compare(0, 8, "#version") != 0)
      merges.push_back(std::move(line));
  TRY_ASSIGN(const auto config, read_optional(folder / "tokenizer_config.json"));
  TRY_ASSIGN(const auto name, tokenizer_class(folder, config));
  TRY_ASSIGN(const bool prefix_space, json_bool_or(config, "add_prefix_space", false,
                                                   (folder / "tokenizer_config.json").string()));
  Json& root = out.root;
  root["model"] = {{"type", "BPE"}, {"vocab", std::move(vocab)}, {"merges", std::move(merges)}};
  root["decoder"] = {{"type", "ByteLevel"}};
  root["pre_tokenizer"] = byte_level(prefix_space, true);
  const Json& tokens = root["model"]["vocab"];
  if (!tokens.is_object())
    return Error{"bad-file", "The file must hold a JSON object", (folder / "vocab.json").string()};
  if (name == "Qwen2Tokenizer" || name == "QWenTokenizer") {
    root["normalizer"] = {{"type", "NFC"}};
    root["pre_tokenizer"] = {{"type", "Sequence"},
                             {"pretokenizers",
                              {{{"type", "Split"},
                                {"pattern", {{"Regex", pattern_qwen2}}},
                                {"behavior", "Isolated"},
                                {"invert", false}},
                               byte_level(false, false)}}};
  } else if (name == "RobertaTokenizer" || name == "BartTokenizer" ||
             name == "LongformerTokenizer" || name == "LEDTokenizer") {
    if (tokens.contains("<s>") && tokens.contains("</s>")) {
      root["post_processor"] = {{"type", "RobertaProcessing"},
                                {"cls", {"<s>", tokens["<s>"]}},
                                {"sep", {"</s>", tokens["</s>"]}}};
      out.has_post_processor = true;
    }
  } else if (!name.empty() && name != "GPT2Tokenizer" && name != "CodeGenTokenizer" &&
             name != "PhiTokenizer" && name != "GPTNeoXTokenizer" &&
             name != "PreTrainedTokenizer") {
    out.notes.push_back("vocab.json and merges.txt do not say how to split text, and nothing is "
                        "known about " +
                        name + "; GPT-2's way was used: ids may differ");
  }
  // The tokens that GPT-2 and its kin look for in text, where no other file names any.
  Json added = Json::array();
  for (const char* special : {"<|endoftext|>", "<s>", "<pad>", "</s>", "<unk>", "<mask>"})
    if (tokens.contains(special))
      added.push_back({{"id", tokens[special]}, {"content", special}, {"special", true}});
  if (!config.contains("added_tokens_decoder"))
    root["added_tokens"] = std::move(added);
  return out;
}

Result<AsTokenizerJson> from_vocab_txt(const fs::path& folder) {
  AsTokenizerJson out;
  const auto where = (folder / "vocab.txt").string();
  const auto config_where = (folder / "tokenizer_config.json").string();
  TRY_ASSIGN(const auto file, MappedFile::open(folder / "vocab.txt"));
  const auto bytes = file->bytes();
  TRY_ASSIGN(const auto config, read_optional(folder / "tokenizer_config.json"));
  Json vocab = Json::object();
  std::uint64_t id = 0;
  for (auto& line : lines_of({reinterpret_cast<const char*>(bytes.data()), bytes.size()})) {
    while (!line.empty() && (line.back() == ' ' || line.back() == '\t'))
      line.pop_back();
    vocab[line] = id++; // of two alike the later one counts
  }
  TRY_ASSIGN(const bool lower, json_bool_or(config, "do_lower_case", true, config_where));
  TRY_ASSIGN(const bool chinese,
             json_bool_or(config, "tokenize_chinese_chars", true, config_where));
  TRY_ASSIGN(const bool strip, json_bool_or(config, "strip_accents", lower, config_where));
  Json& root = out.root;
  root["normalizer"] = {{"type", "BertNormalizer"},
                        {"clean_text", true},
                        {"handle_chinese_chars", chinese},
                        {"strip_accents", strip},
                        {"lowercase", lower}};
  root["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  root["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  Json added = Json::array();
  for (const char* special : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"})
    if (vocab.contains(special))
      added.push_back({{"id", vocab[special]}, {"content", special}, {"special", true}});
  root["added_tokens"] = std::move(added);
  if (vocab.contains("[CLS]") && vocab.contains("[SEP]")) {
    root["post_processor"] = {{"type", "BertProcessing"},
                              {"cls", {"[CLS]", vocab["[CLS]"]}},
                              {"sep", {"[SEP]", vocab["[SEP]"]}}};
    out.has_post_processor = true;
  }
  root["model"] = {{"type", "WordPiece"}, {"vocab", std::move(vocab)}, {"unk_token", "[UNK]"}};
  return out;
}

} // namespace bitlathe::text
