// SPDX-License-Identifier: Apache-2.0
// GPT-2: learned positions, LayerNorm, biases everywhere, one matrix for queries, keys and values,
// matrices stored as [in, out]. Follows transformers' modeling_gpt2.py.
#include "core/arch/common.h"

namespace bitlathe {

namespace {

bool match(const Json& config) { return names_class(config, {"GPT2LMHeadModel", "gpt2"}); }

bool match_gguf(const GgufMetadata& metadata) { return gguf_architecture_is(metadata, "gpt2"); }

Error cannot_run(const std::string& what, const std::string& where) {
  return {"unsupported", "GPT-2 models with " + what + " cannot be run", where};
}

Result<ModelSpec> spec(const Json& config, const std::string& where) {
  ModelSpec s;
  TRY_ASSIGN(s.layers, read_size(config, "n_layer", 12, where));
  TRY_ASSIGN(s.hidden, read_size(config, "n_embd", 768, where));
  TRY_ASSIGN(s.heads, read_size(config, "n_head", 12, where));
  TRY_ASSIGN(s.ffn, read_size(config, "n_inner", 4 * s.hidden, where));
  TRY_ASSIGN(s.vocab, read_size(config, "vocab_size", 50257, where));
  TRY_ASSIGN(s.context, read_size(config, "n_positions", 1024, where));
  if (s.layers > 100000)
    return Error{"bad-file", "\"n_layer\" is " + std::to_string(s.layers), where};
  if (s.hidden % s.heads != 0)
    return Error{"bad-file",
                 "\"n_embd\" is " + std::to_string(s.hidden) + ", which does not divide by " +
                     std::to_string(s.heads) + " heads",
                 where};
  s.kv_heads = s.heads;
  s.head_dim = s.hidden / s.heads;
  TRY_ASSIGN(s.norm_eps, read_epsilon(config, "layer_norm_epsilon", 1e-5, where));
  s.norm = "layer";
  TRY_ASSIGN(s.activation, read_activation(config, "activation_function", "gelu_new", where));
  TRY_ASSIGN(s.tied_head, json_bool_or(config, "tie_word_embeddings", true, where));
  TRY_ASSIGN(const bool scaled, json_bool_or(config, "scale_attn_weights", true, where));
  if (!scaled)
    s.attention_scale = 1;
  TRY_ASSIGN(const bool by_layer,
             json_bool_or(config, "scale_attn_by_inverse_layer_idx", false, where));
  if (by_layer)
    return cannot_run("attention scaled by the layer's number", where);
  TRY_ASSIGN(const bool crossed, json_bool_or(config, "add_cross_attention", false, where));
  if (crossed)
    return cannot_run("attention to an encoder", where);
  s.fused_qkv = "stacked";
  s.attention_bias = s.mlp_bias = true;
  TRY_ASSIGN(s.bos, read_id(config, "bos_token_id", where));
  TRY_ASSIGN(s.eos, read_id(config, "eos_token_id", where));
  return s;
}

Result<Json> config_from_gguf(const GgufFile& file) {
  const GgufKeys keys(file, "gpt2");
  TRY_ASSIGN(const Json common,
             common_config(keys, "GPT2LMHeadModel", "gpt2", "attention.layer_norm_epsilon"));
  Json config;
  for (const char* name : {"architectures", "model_type", "vocab_size", "tie_word_embeddings",
                           "bos_token_id", "eos_token_id"})
    config[name] = common[name];
  config["n_layer"] = common["num_hidden_layers"];
  config["n_embd"] = common["hidden_size"];
  config["n_inner"] = common["intermediate_size"];
  config["n_head"] = common["num_attention_heads"];
  config["n_positions"] = config["n_ctx"] = common["max_position_embeddings"];
  config["layer_norm_epsilon"] = common["rms_norm_eps"];
  config["activation_function"] = "gelu_new";
  return config;
}

GgufMetadata gguf_metadata(const ModelSpec& s, const Json&) {
  return common_metadata("gpt2", s, "attention.layer_norm_epsilon");
}

std::vector<ModuleName> modules(const ModelSpec& s) {
  ModuleList out;
  const auto matrix = [&](const char* part, const char* role, const char* name, const char* stem,
                          std::int64_t rows, std::int64_t cols) {
    out.add(part, role, name, stem, {rows, cols}, true).transposed_in_hf = true;
  };
  out.enter("transformer.", "", -1);
  out.add("embedding", "embedding", "wte", "token_embd", {s.vocab, s.hidden});
  out.add("positions", "embedding", "wpe", "position_embd", {s.context, s.hidden});
  for (std::int64_t i = 0; i < s.layers; ++i) {
    const auto n = std::to_string(i);
    out.enter("transformer.h." + n + ".", "blk." + n + ".", int(i));
    out.add("attention_norm", "norm", "ln_1", "attn_norm", {s.hidden}, true);
    matrix("qkv", "qkv_proj", "attn.c_attn", "attn_qkv", 3 * s.hidden, s.hidden);
    matrix("o", "o_proj", "attn.c_proj", "attn_output", s.hidden, s.hidden);
    out.add("mlp_norm", "norm", "ln_2", "ffn_norm", {s.hidden}, true);
    matrix("up", "fc_in", "mlp.c_fc", "ffn_up", s.ffn, s.hidden);
    matrix("down", "fc_out", "mlp.c_proj", "ffn_down", s.hidden, s.ffn);
  }
  out.enter("transformer.", "", -1);
  out.add("final_norm", "norm", "ln_f", "output_norm", {s.hidden}, true);
  out.enter("", "", -1);
  out.add("head", "lm_head", "lm_head", "output", {s.vocab, s.hidden}).optional = s.tied_head;
  return std::move(out.list);
}

std::vector<std::string> gguf_notes(const ModelSpec& s, const Json&) {
  if (s.activation == "gelu")
    return {"GGUF does not say which form of GELU a GPT-2 has: llama.cpp runs the tanh form"};
  return {};
}

std::vector<std::string> gguf_problems(const ModelSpec& s, const Json&) {
  std::vector<std::string> out;
  if (s.activation != "gelu" && s.activation != "gelu_tanh")
    out.push_back("llama.cpp would run GPT-2's feed-forward with GELU, not with " + s.activation);
  if (s.attention_scale != 0)
    out.push_back("llama.cpp would scale the attention scores, which this model does not");
  return out;
}

} // namespace

extern const Arch arch_gpt2;
const Arch arch_gpt2{
    "gpt2",           "GPT-2: learned positions, LayerNorm, biases, GELU feed-forward.",
    "gpt2",           match,
    match_gguf,       spec,
    config_from_gguf, gguf_metadata,
    modules,          gguf_notes,
    gguf_problems};

} // namespace bitlathe
