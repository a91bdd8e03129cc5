// SPDX-License-Identifier: Apache-2.0
// Phi-3, Phi-3.5 and Phi-4: Llama with one matrix for queries, keys and values and one for gate and
// up, rotary positions on part of a head where asked for, and longrope. Follows transformers'
// modeling_phi3.py.
#include "core/arch/llama.h"

#include <algorithm>

namespace bitlathe {

namespace {

constexpr const char* id = "phi3";

bool match(const Json& config) { return names_class(config, {"Phi3ForCausalLM", id}); }

bool match_gguf(const GgufMetadata& metadata) { return gguf_architecture_is(metadata, id); }

Result<ModelSpec> spec(const Json& config, const std::string& where) {
  ModelSpec s;
  Defaults defaults;
  defaults.context = 4096;
  defaults.epsilon = 1e-5;
  TRY(read_common(config, defaults, s, where));
  s.fused_qkv = "stacked";
  TRY_ASSIGN(const std::int64_t window, read_window(config, 0, where));
  TRY_ASSIGN(s.windows, windows_of_layers(
                            config, s, window, [](std::int64_t) { return true; }, where));
  TRY_ASSIGN(const std::int64_t dims, rotary_dims(config, s.head_dim, 1.0, where));
  Json settled = config; // the class has a length of its own where the file names none
  if (!settled.contains("original_max_position_embeddings") &&
      !(rope_settings(config) &&
        rope_settings(config)->contains("original_max_position_embeddings")))
    settled["original_max_position_embeddings"] = 4096;
  TRY(read_rope(settled, {rope_settings(settled), "rope_theta", 10000, dims, s.context}, s.rope,
                where));
  return s;
}

Result<Json> config_from_gguf(const GgufFile& file) {
  const GgufKeys keys(file, id);
  TRY_ASSIGN(Json config, common_config(keys, "Phi3ForCausalLM", id));
  config["hidden_act"] = "silu";
  if (keys.tensor("blk.0.attn_q.weight"))
    return Error{"unsupported", "A Phi-3 with separate query, key and value matrices cannot be run",
                 keys.where()};
  const auto window = keys.whole("attention.sliding_window").value_or(0);
  config["sliding_window"] = window > 0 ? Json(window) : Json(nullptr);
  TRY(rope_from_gguf(keys, config["head_dim"], config));
  return config;
}

GgufMetadata gguf_metadata(const ModelSpec& s, const Json&) {
  auto out = common_metadata(id, s);
  // Zero tells llama.cpp that there is none.
  out.emplace_back("phi3.attention.sliding_window", gguf_u32(s.windows.empty() ? 0 : s.windows[0]));
  if (s.rope.type != "longrope") // expected by loaders; the trained length changes nothing
    out.emplace_back("phi3.rope.scaling.original_context_length", gguf_u32(s.context));
  return out;
}

std::vector<ModuleName> modules(const ModelSpec& s) {
  const std::int64_t q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim;
  ModuleList out;
  out.add("embedding", "embedding", "model.embed_tokens", "token_embd", {s.vocab, s.hidden});
  for (std::int64_t i = 0; i < s.layers; ++i) {
    const auto n = std::to_string(i);
    out.enter("model.layers." + n + ".", "blk." + n + ".", int(i));
    out.add("attention_norm", "norm", "input_layernorm", "attn_norm", {s.hidden});
    out.add("qkv", "qkv_proj", "self_attn.qkv_proj", "attn_qkv", {q + 2 * kv, s.hidden});
    out.add("o", "o_proj", "self_attn.o_proj", "attn_output", {s.hidden, q});
    out.add("mlp_norm", "norm", "post_attention_layernorm", "ffn_norm", {s.hidden});
    out.add("gate_up", "gate_up_proj", "mlp.gate_up_proj", "ffn_up", {2 * s.ffn, s.hidden});
    out.add("down", "down_proj", "mlp.down_proj", "ffn_down", {s.hidden, s.ffn});
  }
  out.enter("", "", -1);
  out.add("final_norm", "norm", "model.norm", "output_norm", {s.hidden});
  out.add("head", "lm_head", "lm_head", "output", {s.vocab, s.hidden}).optional = s.tied_head;
  return std::move(out.list);
}

std::vector<std::string> gguf_problems(const ModelSpec& s, const Json&) {
  return llama_cpp_problems(s, {true, false});
}

} // namespace

extern const Arch arch_phi3;
const Arch arch_phi3{id,
                     "Phi-3 to Phi-4: joined query, key and value, joined gate and up, longrope.",
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
