// SPDX-License-Identifier: Apache-2.0
// Pre-tokenizers by the names llama.cpp gives them (src/llama-vocab.cpp).
#include "core/text/gguf_tokenizer.h"

#include <map>

namespace bitlathe::text {

namespace {

const std::string gpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))";
const std::string endings = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
const std::string contractions = endings + "|";
const std::string spaces = R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string tail = R"( ?[^\s\p{L}\p{N}]+[\r\n]*|)" + spaces;
const std::string words = R"([^\r\n\p{L}\p{N}]?\p{L}+|)";
const std::string llama3 = contractions + words + R"(\p{N}{1,3}|)" + tail;
const std::string qwen2 = contractions + words + R"(\p{N}|)" + tail;
const std::string qwen35 =
    contractions + R"([^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|)" +
    spaces;
const std::string one_digit = R"(\p{N})";
const std::string to_three_digits = R"(\p{N}{1,3})";
const std::string three_digits = "[0-9][0-9][0-9]";

/// Words in one case, then in the other, as o200k has them: `upper` and `lower` match one letter.
std::string cased(const std::string& upper, const std::string& lower, const std::string& ending,
                  const std::string& digits, const std::string& signs) {
  const std::string first = R"([^\r\n\p{L}\p{N}]?)";
  return first + upper + "*" + lower + "+" + ending + "|" + first + upper + "+" + lower + "*" +
         ending + "|" + digits + "|" + signs + "|" + spaces;
}
/// Where a pattern names kinds of letters, llama.cpp takes any letter.
const std::string any_letter = R"([\p{L}\p{M}])";
/// llama.cpp knows only "a letter that is not a-z" and "a letter that is not A-Z".
const std::string not_lower = R"((?:(?=\p{L})[^a-z]))";
const std::string not_upper = R"((?:(?=\p{L})[^A-Z]))";
const std::string signs_or_slash = R"( ?[^\s\p{L}\p{N}]+[\r\n/]*)";

const std::string ideographs = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+";
const std::string deepseek_words =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+)";
/// The cased letters of DeepSeek's first tokenizer, without those that Unicode 8 did not have.
const std::string cased_letters =
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af"
    "\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1"
    "\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd"
    "\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d"
    "\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4"
    "\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec"
    "\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128"
    "\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b"
    "\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787"
    "\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a"
    "\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2"
    "\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943";
const std::string deepseek_ideographs = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+";
const std::string bloom = " ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+";
const std::string lines = R"([^\n]+|[\n]+)";

/// Han apart from other letters; llama.cpp takes letters of both cases together here too.
const std::string kimi = R"([\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{L}&&[^\p{Han}]]+)" + endings + "?|" +
                         to_three_digits + R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|)" + spaces;

std::string jais2() {
  std::string out =
      contractions + words + to_three_digits + R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|)" + R"(\s*[\r\n]+|)";
  for (const char* count : {"512", "256", "128", "64", "32", "16", "8", "4", "1,2"})
    out += R"(\s{)" + std::string(count) + R"(}(?!\S)|)";
  return out + R"(\s{1})";
}

std::map<std::string, GgufPre, std::less<>> make_table() {
  std::map<std::string, GgufPre, std::less<>> table;
  const auto add = [&](std::initializer_list<const char*> names, const GgufPre& pre) {
    for (const char* name : names)
      table[name] = pre;
  };
  add({"default"}, {{R"([\p{P}\$\+<=>\^~\|]+)", gpt2, R"(\p{N}+)", three_digits}});
  add({"gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling", "gigachat",
       "a.x-4.0", "mellum", "modern-bert", "exaone4", "jina-es", "jina-de", "jina-v2-es",
       "jina-v2-de", "jina-v1-en", "jina-v2-code", "roberta-bpe"},
      {{gpt2}});
  add({"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
       "jina-v5-nano"},
      {{llama3}, true, true});
  add({"dbrx", "smaug-bpe", "glm4", "chatglm-bpe"}, {{llama3}});
  add({"jais-2"}, {{jais2()}});
  add({"qwen2", "deepseek-r1-qwen", "megrez", "stablelm2", "hunyuan", "solar-open", "kormo",
       "f2llmv2", "grok-2"},
      {{qwen2}});
  add({"qwen35"}, {{qwen35}});
  add({"ufakzeka"}, {{words + R"(\p{N}|)" + tail}});
  add({"laguna"}, {{lines, qwen2}});
  add({"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b",
       "mellum2"},
      {{one_digit, gpt2}});
  add({"falcon"}, {{R"([\p{P}\$\+<=>\^~\|`]+)", gpt2, three_digits}});
  add({"minicpm5"}, {{to_three_digits, contractions + words + R"(\p{N}+|)" + tail}, true});
  add({"deepseek-llm"}, {{R"([\r\n])", "\\s?[" + cased_letters + "]+",
                          "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3001-\u3002]+",
                          R"(\s+$)", deepseek_ideographs, R"(\p{N}+)"}});
  add({"deepseek-coder"},
      {{R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", deepseek_ideographs, one_digit}});
  add({"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"},
      {{to_three_digits, ideographs, deepseek_words + R"([\r\n]*|)" + spaces}});
  add({"spark2_5"},
      {{to_three_digits, ideographs, deepseek_words + R"(|[\r\n]|\s+(?!\S)|\s+)", one_digit}});
  add({"youtu"},
      {{"[\uac00-\ud7a3\u3131-\u318e]+|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b"
        "\uff0c\u3001-\u303f\ufe30-\ufe4f]+|[\u3105-\u312f]+|" +
            ideographs,
        cased(any_letter, any_letter, endings + "?", one_digit, signs_or_slash)},
       true});
  add({"poro-chat", "bloom", "gpt3-finnish"}, {{bloom}});
  add({"viking"}, {{bloom, one_digit}});
  add({"tekken"}, {{cased(not_lower, not_upper, "", one_digit, signs_or_slash)}, true, true});
  add({"chameleon"}, {{"<sentinel:[0-9]+>", "IMGIMG[A-I]{1,4}Z", R"([\t\n]|    |  )", one_digit,
                       R"([\p{P}!-/:-@\[-`{-~])", gpt2},
                      false,
                      true});
  add({"gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"},
      {{cased(not_lower, not_upper, endings + "?", to_three_digits, signs_or_slash)}});
  add({"granite-embed-multi-97m"},
      {{cased(R"((?:(?=[\p{L}\p{M}])[^a-z]))", R"((?:(?=[\p{L}\p{M}])[^A-Z]))", endings + "?",
              to_three_digits, signs_or_slash)},
       true});
  add({"tiny_aya", "cohere2moe"},
      {{"[0-9]{1,3}(?=(?:[0-9]{3})*(?![0-9A-Za-z_]))",
        cased(any_letter, any_letter, endings + "?", to_three_digits, signs_or_slash)}});
  add({"kimi-k2"}, {{kimi}});
  add({"superbpe"}, {{R"(\p{N}+)", "(?=(?:[0-9]{3})+(?![0-9]))"}});
  add({"bailingmoe", "bailingmoe2", "llada-moe"},
      {{"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|" + words +
        R"(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)"}});
  add({"seed-coder"}, {{contractions + words + R"(\p{N}| ?[^\s\p{L}\p{N}\r\n]+|)" + spaces}});
  add({"afmoe"}, {{R"(\P{N}*\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N})))",
                   "[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f"
                   "\u2f00-\u2fdf\u0e40-\u0e7f\u0e80-\u0eff\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f"
                   "\ua9e0-\ua9ff\uac00-\ud7af\u1100-\u11ff]+",
                   deepseek_words + R"([\r\n]*|)" + spaces}});
  add({"exaone-moe"},
      {{contractions + R"([^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}|)" +
        R"( ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)"}});
  add({"gemma4", "granite-embed-multi-311m"}, {{lines}, false, true, false, true});
  add({"sarvam-moe"}, {{lines}, false, false, false, true});
  return table;
}

} // namespace

const GgufPre* find_gguf_pre(std::string_view name) {
  static const auto table = make_table();
  const auto it = table.find(name);
  return it == table.end() ? nullptr : &it->second;
}

} // namespace bitlathe::text
