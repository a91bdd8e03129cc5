// SPDX-License-Identifier: Apache-2.0
// GPT-NeoX and Pythia: LayerNorm, biases, rotary positions on part of a head, one matrix for
// queries, keys and values, attention and feed-forward side by side. Follows transformers'
// modeling_gpt_neox.py.
#include "core/arch/rope.h"

namespace bitlathe {

namespace {

bool match(const Json& config) { return names_class(config, {"GPTNeoXForCausalLM", "gpt_neox"}); }

bool match_gguf(const GgufMetadata& metadata) { return gguf_architecture_is(metadata, "gptneox"); }

Result<ModelSpec> spec(const Json& config, const std::string& where) {
  ModelSpec s;
  Defaults defaults;
  defaults.activation = "gelu";
  TRY(read_common(config, defaults, s, where));
  s.kv_heads = s.heads;
  s.head_dim = s.hidden / s.heads;
  if (s.hidden % s.heads != 0)
    return Error{"bad-file",
                 "\"hidden_size\" is " + std::to_string(s.hidden) + ", which does not divide by " +
                     std::to_string(s.heads) + " heads",
                 where};
  TRY_ASSIGN(s.norm_eps, read_epsilon(config, "layer_norm_eps", 1e-5, where));
  s.norm = "layer";
  TRY_ASSIGN(s.parallel_residual, json_bool_or(config, "use_parallel_residual", true, where));
  TRY_ASSIGN(s.attention_bias, json_bool_or(config, "attention_bias", true, where));
  s.mlp_bias = true;
  s.fused_qkv = "per_head";
  TRY_ASSIGN(const std::int64_t dims, rotary_dims(config, s.head_dim, 0.25, where, "rotary_pct"));
  TRY(read_rope(config, {rope_settings(config), "rotary_emb_base", 10000, dims, s.context}, s.rope,
                where));
  return s;
}

Result<Json> config_from_gguf(const GgufFile& file) {
  const GgufKeys keys(file, "gptneox");
  TRY_ASSIGN(Json config,
             common_config(keys, "GPTNeoXForCausalLM", "gpt_neox", "attention.layer_norm_epsilon"));
  const std::int64_t head_dim = config["head_dim"];
  TRY(rope_from_gguf(keys, head_dim, config));
  const auto rename = [&](const char* from, const char* to) {
    if (config.contains(from))
      config[to] = config[from];
    config.erase(from);
  };
  rename("rms_norm_eps", "layer_norm_eps");
  rename("rope_theta", "rotary_emb_base");
  config["rotary_pct"] = 1.0;
  rename("partial_rotary_factor", "rotary_pct");
  config.erase("head_dim");
  config.erase("num_key_value_heads");
  config["hidden_act"] = "gelu";
  config["use_parallel_residual"] = keys.boolean("use_parallel_residual").value_or(true);
  config["attention_bias"] = keys.tensor("blk.0.attn_qkv.bias") != nullptr;
  return config;
}

GgufMetadata gguf_metadata(const ModelSpec& s, const Json&) {
  auto out = common_metadata("gptneox", s, "attention.layer_norm_epsilon");
  out.emplace_back("gptneox.use_parallel_residual", GgufValue::boolean(s.parallel_residual));
  return out;
}

std::vector<ModuleName> modules(const ModelSpec& s) {
  ModuleList out;
  out.add("embedding", "embedding", "gpt_neox.embed_in", "token_embd", {s.vocab, s.hidden});
  for (std::int64_t i = 0; i < s.layers; ++i) {
    const auto n = std::to_string(i);
    out.enter("gpt_neox.layers." + n + ".", "blk." + n + ".", int(i));
    out.add("attention_norm", "norm", "input_layernorm", "attn_norm", {s.hidden}, true);
    auto& qkv = out.add("qkv", "qkv_proj", "attention.query_key_value", "attn_qkv",
                        {3 * s.hidden, s.hidden}, s.attention_bias);
    // [head][q, k, v][head_dim] here, [q, k, v][head][head_dim] there.
    qkv.hf_row_of_gguf = [hidden = s.hidden, size = s.head_dim](std::int64_t row) {
      const std::int64_t kind = row / hidden, head = row % hidden / size;
      return (3 * head + kind) * size + row % size;
    };
    out.add("o", "o_proj", "attention.dense", "attn_output", {s.hidden, s.hidden},
            s.attention_bias);
    out.add("mlp_norm", "norm", "post_attention_layernorm", "ffn_norm", {s.hidden}, true);
    out.add("up", "fc_in", "mlp.dense_h_to_4h", "ffn_up", {s.ffn, s.hidden}, true);
    out.add("down", "fc_out", "mlp.dense_4h_to_h", "ffn_down", {s.hidden, s.ffn}, true);
  }
  out.enter("", "", -1);
  out.add("final_norm", "norm", "gpt_neox.final_layer_norm", "output_norm", {s.hidden}, true);
  out.add("head", "lm_head", "embed_out", "output", {s.vocab, s.hidden}).optional = s.tied_head;
  return std::move(out.list);
}

std::vector<std::string> gguf_notes(const ModelSpec& s, const Json&) {
  if (s.activation == "gelu")
    return {"llama.cpp runs GPT-NeoX with the tanh form of GELU instead of the exact one"};
  if (s.activation == "gelu_tanh")
    return {"GGUF does not say which form of GELU a GPT-NeoX has; read back, it is the exact one"};
  return {};
}

std::vector<std::string> gguf_problems(const ModelSpec& s, const Json&) {
  std::vector<std::string> out;
  if (s.activation != "gelu" && s.activation != "gelu_tanh")
    out.push_back("llama.cpp would run GPT-NeoX's feed-forward with GELU, not with " +
                  s.activation);
  if (!s.attention_bias)
    out.push_back("llama.cpp does not load a GPT-NeoX without biases in its attention");
  if (s.tied_head)
    out.push_back("llama.cpp does not load a GPT-NeoX without a head of its own");
  return out;
}

} // namespace

extern const Arch arch_gptneox;
const Arch arch_gptneox{
    "gptneox",        "GPT-NeoX and Pythia: partial rotary positions, parallel residual.",
    "gptneox",        match,
    match_gguf,       spec,
    config_from_gguf, gguf_metadata,
    modules,          gguf_notes,
    gguf_problems};

} // namespace bitlathe
