// SPDX-License-Identifier: Apache-2.0
// Qwen 2 and 2.5: Llama with biases on queries, keys and values, and sliding windows in upper
// layers where the configuration asks for them. Follows transformers' modeling_qwen2.py.
#include "core/arch/llama.h"

namespace bitlathe {

namespace {

constexpr const char* id = "qwen2";

bool match(const Json& config) { return names_class(config, {"Qwen2ForCausalLM", id}); }

bool match_gguf(const GgufMetadata& metadata) { return gguf_architecture_is(metadata, id); }

Result<ModelSpec> spec(const Json& config, const std::string& where) {
  ModelSpec s;
  Defaults defaults;
  defaults.context = 32768;
  TRY(read_common(config, defaults, s, where));
  TRY(read_qwen_windows(config, s, where));
  TRY(read_rope(config, {rope_settings(config), "rope_theta", 10000, s.head_dim, s.context}, s.rope,
                where));
  return s;
}

Result<Json> config_from_gguf(const GgufFile& file) {
  const GgufKeys keys(file, id);
  TRY_ASSIGN(Json config, common_config(keys, "Qwen2ForCausalLM", id));
  config["hidden_act"] = "silu";
  TRY(rope_from_gguf(keys, config["head_dim"], config));
  TRY(whole_head_turns(config, keys.where()));
  return config;
}

GgufMetadata gguf_metadata(const ModelSpec& s, const Json&) { return common_metadata(id, s); }

std::vector<ModuleName> modules(const ModelSpec& s) {
  LlamaLayout layout;
  layout.qkv_bias = true;
  return llama_modules(s, layout);
}

std::vector<std::string> gguf_problems(const ModelSpec& s, const Json&) {
  return llama_cpp_problems(s, {true, false});
}

} // namespace

Result<void> read_qwen_windows(const Json& config, ModelSpec& s, const std::string& where) {
  TRY_ASSIGN(const bool slides, json_bool_or(config, "use_sliding_window", false, where));
  if (!slides)
    return {};
  TRY_ASSIGN(const std::int64_t window, read_window(config, 4096, where));
  TRY_ASSIGN(const std::int64_t first, json_int_or(config, "max_window_layers", 28, where));
  TRY_ASSIGN(s.windows,
             windows_of_layers(
                 config, s, window, [&](std::int64_t layer) { return layer >= first; }, where));
  return {};
}

extern const Arch arch_qwen2;
const Arch arch_qwen2{id,
                      "Qwen 2 and 2.5: Llama with biases on queries, keys and values.",
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
