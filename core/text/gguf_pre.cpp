// SPDX-License-Identifier: Apache-2.0
// Pre-tokenizers by the names llama.cpp gives them (src/llama-vocab.cpp).
#include "core/text/gguf_tokenizer.h"

#include <map>

namespace bitlathe::text {

namespace {

const std::string gpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))";
const std::string contractions = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|";
const std::string tail = R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string words = R"([^\r\n\p{L}\p{N}]?\p{L}+|)";
const std::string llama3 = contractions + words + R"(\p{N}{1,3}|)" + tail;
const std::string qwen2 = contractions + words + R"(\p{N}|)" + tail;
const std::string qwen35 =
    contractions + R"([^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|)" +
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string three_digits = "[0-9][0-9][0-9]";

std::map<std::string, GgufPre, std::less<>> make_table() {
  std::map<std::string, GgufPre, std::less<>> table;
  const auto add = [&](std::initializer_list<const char*> names, const GgufPre& pre) {
    for (const char* name : names)
      table[name] = pre;
  };
  add({"default"}, {{R"([\p{P}\$\+<=>\^~\|]+)", gpt2, R"(\p{N}+)", three_digits}});
  add({"gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling", "gigachat",
       "a.x-4.0", "mellum", "modern-bert", "exaone4", "jina-es", "jina-de", "jina-v2-es",
       "jina-v2-de"},
      {{gpt2}});
  add({"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
       "jina-v5-nano"},
      {{llama3}, true, true});
  add({"dbrx", "smaug-bpe", "glm4", "chatglm-bpe"}, {{llama3}});
  add({"qwen2", "deepseek-r1-qwen", "megrez", "stablelm2", "hunyuan", "solar-open", "kormo",
       "f2llmv2", "grok-2"},
      {{qwen2}});
  add({"qwen35"}, {{qwen35}});
  add({"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b",
       "mellum2"},
      {{R"(\p{N})", gpt2}});
  add({"falcon"}, {{R"([\p{P}\$\+<=>\^~\|`]+)", gpt2, three_digits}});
  return table;
}

} // namespace

const GgufPre* find_gguf_pre(std::string_view name) {
  static const auto table = make_table();
  const auto it = table.find(name);
  return it == table.end() ? nullptr : &it->second;
}

} // namespace bitlathe::text
