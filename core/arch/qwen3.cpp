// SPDX-License-Identifier: Apache-2.0
// Qwen 3: Llama whose queries and keys are normed head by head. Follows transformers'
// modeling_qwen3.py.
#include "core/arch/llama.h"

namespace bitlathe {

namespace {

constexpr const char* id = "qwen3";

bool match(const Json& config) { return names_class(config, {"Qwen3ForCausalLM", id}); }

bool match_gguf(const GgufMetadata& metadata) { return gguf_architecture_is(metadata, id); }

Result<ModelSpec> spec(const Json& config, const std::string& where) {
  ModelSpec s;
  Defaults defaults;
  defaults.context = 32768;
  defaults.head_dim = 128; // of the class, whatever the other sizes
  TRY(read_common(config, defaults, s, where));
  TRY_ASSIGN(s.attention_bias, json_bool_or(config, "attention_bias", false, where));
  TRY(read_qwen_windows(config, s, where));
  TRY(read_rope(config, {rope_settings(config), "rope_theta", 10000, s.head_dim, s.context}, s.rope,
                where));
  return s;
}

Result<Json> config_from_gguf(const GgufFile& file) {
  const GgufKeys keys(file, id);
  TRY_ASSIGN(Json config, common_config(keys, "Qwen3ForCausalLM", id));
  config["hidden_act"] = "silu";
  config["attention_bias"] = keys.tensor("blk.0.attn_q.bias") != nullptr;
  TRY(rope_from_gguf(keys, config["head_dim"], config));
  TRY(whole_head_turns(config, keys.where()));
  return config;
}

GgufMetadata gguf_metadata(const ModelSpec& s, const Json&) { return common_metadata(id, s); }

std::vector<ModuleName> modules(const ModelSpec& s) {
  LlamaLayout layout;
  layout.qkv_bias = layout.o_bias = s.attention_bias;
  layout.head_norms = true;
  return llama_modules(s, layout);
}

std::vector<std::string> gguf_problems(const ModelSpec& s, const Json&) {
  return llama_cpp_problems(s, {false, true});
}

} // namespace

extern const Arch arch_qwen3;
const Arch arch_qwen3{id,
                      "Qwen 3: Llama with normed queries and keys.",
                      id,
                      match,
                      match_gguf,
                      spec,
                      config_from_gguf,
                      gguf_metadata,
                      modules,
                      note_lost_windows,
                      gguf_problems};

} // namespace bitlathe
