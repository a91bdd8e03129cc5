// SPDX-License-Identifier: Apache-2.0
// Gemma 3, the text model: Gemma 2 with norms on queries and keys, five layers with a window and a
// rotation of their own to each that sees everything, and no soft caps. Follows transformers'
// modeling_gemma3.py; of the multimodal models, the text part runs.
#include "core/arch/gemma.h"

namespace bitlathe {

namespace {

constexpr std::int64_t layers_of_27b = 62;
constexpr double local_theta = 10000;

bool match(const Json& config) {
  return names_class(
      config, {"Gemma3ForCausalLM", "Gemma3ForConditionalGeneration", "gemma3", "gemma3_text"});
}

bool match_gguf(const GgufMetadata& metadata) { return gguf_architecture_is(metadata, "gemma3"); }

constexpr std::int64_t usual_period = 6;

Result<void> read_ropes(const Json& config, ModelSpec& s, const std::string& where) {
  const Json* global = rope_settings(config, "full_attention");
  TRY(read_rope(config, {global, "rope_theta", 1e6, s.head_dim, s.context}, s.rope, where));
  // One set of parameters without layer types belongs to the layers that see everything.
  const Json* local = rope_settings(config, "sliding_attention");
  if (local == rope_settings(config))
    local = nullptr;
  return read_rope(config, {local, "rope_local_base_freq", local_theta, s.head_dim, s.context},
                   s.local_rope, where);
}

Result<ModelSpec> spec(const Json& given, const std::string& where) {
  const Json config = gemma_config(given, {{"num_attention_heads", 8},
                                           {"num_key_value_heads", 4},
                                           {"head_dim", 256},
                                           {"vocab_size", 262208},
                                           {"max_position_embeddings", 131072}});
  TRY_ASSIGN(ModelSpec s, gemma_spec(config, where));
  TRY_ASSIGN(const std::int64_t saved,
             json_int_or(config, "_sliding_window_pattern", usual_period, where));
  TRY_ASSIGN(const std::int64_t period,
             json_int_or(config, "sliding_window_pattern", saved, where));
  if (period < 1)
    return Error{"bad-file", "\"sliding_window_pattern\" is " + std::to_string(period), where};
  const auto slides = [period](std::int64_t layer) { return (layer + 1) % period != 0; };
  TRY(gemma_attention(config, slides, s, where));
  TRY_ASSIGN(const bool both_ways,
             json_bool_or(config, "use_bidirectional_attention", false, where));
  if (both_ways)
    return Error{"unsupported", "Attention to later tokens (an embedding model) cannot be run",
                 where};
  TRY(read_ropes(config, s, where));
  return s;
}

Result<Json> config_from_gguf(const GgufFile& file) {
  const GgufKeys keys(file, "gemma3");
  TRY_ASSIGN(Json config, gemma_config_from_gguf(keys, "Gemma3ForCausalLM", "gemma3_text"));
  gemma_scalar_from_gguf(layers_of_27b, config);
  const auto window = keys.whole("attention.sliding_window").value_or(0);
  config["sliding_window"] = window > 0 ? Json(window) : Json(nullptr);
  config["sliding_window_pattern"] = usual_period;
  TRY(gemma_windows_from_gguf(keys, usual_period, config));
  config["rope_local_base_freq"] =
      shortest(float(keys.number("rope.freq_base_swa").value_or(local_theta)));
  if (const auto cap = keys.number("final_logit_softcapping"))
    config["final_logit_softcapping"] = shortest(float(*cap));
  return config;
}

GgufMetadata gguf_metadata(const ModelSpec& s, const Json&) {
  auto out = gemma_metadata("gemma3", s);
  if (s.local_rope.theta != float(local_theta))
    out.emplace_back("gemma3.rope.freq_base_swa", GgufValue::f32(s.local_rope.theta));
  return out;
}

std::vector<ModuleName> modules(const ModelSpec& s) { return gemma_modules(s, {true, true}); }

std::vector<std::string> gguf_problems(const ModelSpec& s, const Json&) {
  auto out = gemma_gguf_problems(s, layers_of_27b, usual_period);
  if (s.attention_softcap > 0)
    out.push_back("llama.cpp does not cap the attention scores of Gemma 3");
  if (!s.local_rope.factors.empty())
    out.push_back("llama.cpp scales no positions in the layers with a window");
  return out;
}

} // namespace

extern const Arch arch_gemma3;
const Arch arch_gemma3{
    "gemma3",         "Gemma 3 (text): query and key norms, five windowed layers to a full one.",
    "gemma3",         match,
    match_gguf,       spec,
    config_from_gguf, gguf_metadata,
    modules,          nullptr,
    gguf_problems};

} // namespace bitlathe
