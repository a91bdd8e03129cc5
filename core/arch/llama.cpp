// SPDX-License-Identifier: Apache-2.0
// Llama 1, 2 and 3: RMS norm, rotary positions in the half-split form, grouped-query attention,
// gated SiLU feed-forward. Follows transformers' modeling_llama.py.
#include "core/arch/llama.h"

namespace bitlathe {

namespace {

bool match(const Json& config) { return names_class(config, {"LlamaForCausalLM", "llama"}); }

bool match_gguf(const GgufMetadata& metadata) { return gguf_architecture_is(metadata, "llama"); }

Result<ModelSpec> spec(const Json& config, const std::string& where) {
  ModelSpec s;
  TRY(read_common(config, {}, s, where));
  TRY_ASSIGN(s.attention_bias, json_bool_or(config, "attention_bias", false, where));
  TRY_ASSIGN(s.mlp_bias, json_bool_or(config, "mlp_bias", false, where));
  TRY(read_rope(config, {rope_settings(config), "rope_theta", 10000, s.head_dim, s.context}, s.rope,
                where));
  return s;
}

Result<Json> config_from_gguf(const GgufFile& file) {
  const GgufKeys keys(file, "llama");
  TRY_ASSIGN(Json config, common_config(keys, "LlamaForCausalLM", "llama"));
  config["hidden_act"] = "silu";
  config["attention_bias"] = keys.tensor("blk.0.attn_q.bias") != nullptr;
  config["mlp_bias"] = keys.tensor("blk.0.ffn_gate.bias") != nullptr;
  TRY(rope_from_gguf(keys, config["head_dim"], config));
  TRY(whole_head_turns(config, keys.where()));
  return config;
}

} // namespace

Result<void> whole_head_turns(const Json& config, const std::string& where) {
  if (config.contains("partial_rotary_factor"))
    return Error{"unsupported",
                 "Rotary positions on a part of each head cannot be run in this architecture",
                 where};
  return {};
}

std::vector<ModuleName> llama_modules(const ModelSpec& s, const LlamaLayout& layout) {
  const std::int64_t q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim;
  ModuleList out;
  out.add("embedding", "embedding", "model.embed_tokens", "token_embd", {s.vocab, s.hidden});
  for (std::int64_t i = 0; i < s.layers; ++i) {
    const auto n = std::to_string(i);
    out.enter("model.layers." + n + ".", "blk." + n + ".", int(i));
    out.add("attention_norm", "norm", "input_layernorm", "attn_norm", {s.hidden});
    auto& query =
        out.add("q", "q_proj", "self_attn.q_proj", "attn_q", {q, s.hidden}, layout.qkv_bias);
    if (layout.interleaved_in_gguf)
      query.hf_row_of_gguf = interleaved_rows(s.head_dim);
    auto& key =
        out.add("k", "k_proj", "self_attn.k_proj", "attn_k", {kv, s.hidden}, layout.qkv_bias);
    if (layout.interleaved_in_gguf)
      key.hf_row_of_gguf = interleaved_rows(s.head_dim);
    out.add("v", "v_proj", "self_attn.v_proj", "attn_v", {kv, s.hidden}, layout.qkv_bias);
    if (layout.head_norms) {
      out.add("q_norm", "norm", "self_attn.q_norm", "attn_q_norm", {s.head_dim});
      out.add("k_norm", "norm", "self_attn.k_norm", "attn_k_norm", {s.head_dim});
    }
    out.add("o", "o_proj", "self_attn.o_proj", "attn_output", {s.hidden, q}, layout.o_bias);
    out.add("mlp_norm", "norm", "post_attention_layernorm", "ffn_norm", {s.hidden});
    out.add("gate", "gate_proj", "mlp.gate_proj", "ffn_gate", {s.ffn, s.hidden}, s.mlp_bias);
    out.add("up", "up_proj", "mlp.up_proj", "ffn_up", {s.ffn, s.hidden}, s.mlp_bias);
    out.add("down", "down_proj", "mlp.down_proj", "ffn_down", {s.hidden, s.ffn}, s.mlp_bias);
  }
  out.enter("", "", -1);
  out.add("final_norm", "norm", "model.norm", "output_norm", {s.hidden});
  out.add("head", "lm_head", "lm_head", "output", {s.vocab, s.hidden}).optional = s.tied_head;
  return std::move(out.list);
}

namespace {

std::vector<ModuleName> modules(const ModelSpec& s) {
  LlamaLayout layout;
  layout.qkv_bias = layout.o_bias = s.attention_bias;
  layout.interleaved_in_gguf = true;
  return llama_modules(s, layout);
}

GgufMetadata gguf_metadata(const ModelSpec& s, const Json&) { return common_metadata("llama", s); }

std::vector<std::string> gguf_problems(const ModelSpec& s, const Json&) {
  return llama_cpp_problems(s, {});
}

} // namespace

extern const Arch arch_llama;
const Arch arch_llama{
    "llama",          "Llama 1 to 3: RMS norm, rotary positions, gated feed-forward.",
    "llama",          match,
    match_gguf,       spec,
    config_from_gguf, gguf_metadata,
    modules,          nullptr,
    gguf_problems};

} // namespace bitlathe
