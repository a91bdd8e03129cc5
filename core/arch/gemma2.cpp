// SPDX-License-Identifier: Apache-2.0
// Gemma 2: Gemma with norms behind attention and feed-forward, soft caps, and a window on every
// other layer from the first on. Follows transformers' modeling_gemma2.py.
#include "core/arch/gemma.h"

namespace bitlathe {

namespace {

constexpr std::int64_t layers_of_27b = 46;

bool match(const Json& config) { return names_class(config, {"Gemma2ForCausalLM", "gemma2"}); }

bool match_gguf(const GgufMetadata& metadata) { return gguf_architecture_is(metadata, "gemma2"); }

Result<ModelSpec> spec(const Json& given, const std::string& where) {
  Json config = gemma_config(given, {{"num_attention_heads", 8},
                                     {"num_key_value_heads", 4},
                                     {"head_dim", 256},
                                     {"vocab_size", 256000},
                                     {"max_position_embeddings", 8192}});
  // Left out they have a value; null switches them off.
  if (!config.contains("attn_logit_softcapping"))
    config["attn_logit_softcapping"] = 50.0;
  if (!config.contains("final_logit_softcapping"))
    config["final_logit_softcapping"] = 30.0;
  TRY_ASSIGN(ModelSpec s, gemma_spec(config, where));
  TRY(gemma_attention(
      config, [](std::int64_t layer) { return layer % 2 == 0; }, s, where));
  TRY(read_rope(config, {rope_settings(config), "rope_theta", 10000, s.head_dim, s.context}, s.rope,
                where));
  return s;
}

Result<Json> config_from_gguf(const GgufFile& file) {
  const GgufKeys keys(file, "gemma2");
  TRY_ASSIGN(Json config, gemma_config_from_gguf(keys, "Gemma2ForCausalLM", "gemma2"));
  gemma_scalar_from_gguf(layers_of_27b, config);
  config["sliding_window"] = keys.whole("attention.sliding_window").value_or(4096);
  TRY(gemma_windows_from_gguf(keys, 2, config));
  config["attn_logit_softcapping"] =
      shortest(float(keys.number("attn_logit_softcapping").value_or(50.0)));
  config["final_logit_softcapping"] =
      shortest(float(keys.number("final_logit_softcapping").value_or(30.0)));
  return config;
}

GgufMetadata gguf_metadata(const ModelSpec& s, const Json&) { return gemma_metadata("gemma2", s); }

std::vector<ModuleName> modules(const ModelSpec& s) { return gemma_modules(s, {false, true}); }

std::vector<std::string> gguf_problems(const ModelSpec& s, const Json&) {
  auto out = gemma_gguf_problems(s, layers_of_27b, 2);
  if (s.attention_softcap == 0 || s.final_softcap == 0)
    out.push_back("llama.cpp always caps the scores and logits of Gemma 2");
  if (!s.tied_head)
    out.push_back("llama.cpp uses the embedding of Gemma 2 as its head");
  return out;
}

} // namespace

extern const Arch arch_gemma2;
const Arch arch_gemma2{
    "gemma2",         "Gemma 2: soft caps, norms before and after, alternating windows.",
    "gemma2",         match,
    match_gguf,       spec,
    config_from_gguf, gguf_metadata,
    modules,          nullptr,
    gguf_problems};

} // namespace bitlathe
